// Package knocktest is a stand-in for Knock's syndication API: an http.Handler that answers as Knock's articles say,
// goes wrong on demand, and remembers what it was asked. Tests, benchmarks, the demo and the sandbox share it.
//
// In a test:
//
//	up := knocktest.Start(t, knocktest.Options{})
//	gate := up.Gate("42")                          // answers of prospect 42 are made, and held
//	go get(up.URL + "/prospect/42")
//	gate.Wait(1)                                   // no sleeping: returns once one is held
//	up.Edit("42", func(p *knocktest.Prospect) { p.SMSConsent = false })
//	gate.Open()
//	if got := up.Reads("42"); got != 1 { … }
//
// # Data
//
// Prospect [ArticleID] is the one of Knock's article "Knock Get Prospect API". Ids 1 to [LastMadeUpID] exist too, made
// up from the id, the same in every process. No other id exists until it is created by POST /prospect, by
// POST /appointment/request or by [Server.Edit]. A write is kept in memory, over what was made up; [Options.Prospects]
// bounds how many.
//
// # Routes
//
//	GET, HEAD   /prospect/{id}          the prospect ("Knock Get Prospect API")
//	GET, HEAD   /prospect/{id}/events   its events by cursor, ?first=N&after=CURSOR ("Get Prospect Events API")
//	POST        /prospect               updates the prospectId of the body if it exists, else creates one
//	                                    ("Knock Prospect Creation API", "Assign Prospect to Agent API")
//	POST        /appointment/request    the same, and books a tour ("Scheduling API for ILS Partners")
//	GET, HEAD   …/available-times       free times for a tour; the article gives no path, so any that ends thus will do
//	PUT, PATCH  /prospect/{id}          updates; not documented, for tests of forwarding
//	DELETE      /prospect/{id}          sets isDeleted, the prospect stays readable; not documented either
//
// A slash at the end changes nothing. Anything else gets Amazon API Gateway's 403 "Missing Authentication Token", a
// request without an accepted x-api-key its 403 "Forbidden".
//
// # Faults
//
// A [Fault] is a value, put on one prospect or on [All] by [Server.Always], [Server.Next] or [Server.NextN]:
//
//	up.Always(knocktest.All, knocktest.Latency(50*time.Millisecond))
//	up.Always(knocktest.All, knocktest.Status(500).Rate(0.01))
//	up.Always("42", knocktest.Header("Cache-Control", "max-age=60"))
//	up.Next("42", knocktest.Status(503).When(knocktest.Method("PUT")))
//	up.Next("42", knocktest.ConnectionReset().Late())
//
// A request meets its faults in three steps. Early faults come before it is looked at; one that answers takes the
// handler's place, so a write under it is lost. Then the handler makes the answer. Late faults then hold, change, or
// replace that answer, so a write under them is stored though its client may never know. Those that answer or cut the
// connection are early unless [Fault.Late] says otherwise; those that wait ([Latency], [Gate.Hold]) are late unless
// [Fault.Early] does: what they hold back was true when the request came, and may have been overtaken since. All
// others change the answer and are always late.
//
// # History
//
// [Server.Requests], [Server.Count], [Server.MaxConcurrent] and [Server.Await] look at the last [Options.History]
// requests; [Server.Reads] and [Server.Totals] count from the start, or from the last [Server.ForgetRequests].
package knocktest
