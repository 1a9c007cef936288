// Package proxy answers reads of Knock's prospects from cache, and forwards everything else.
//
// # The walk of one read
//
//  1. Accept (proxy.go). GET and HEAD of /prospect/{one segment} are prospect reads, by the escaped path. All else is
//     forwarded as it came (forward.go), and a write invalidates what it names (invalidate.go).
//  2. Identify (identify.go). The client's x-api-key becomes an upstream key, and that a partition: all that this key
//     may see. A bad key, then a bad id, is answered here, and touches neither cache nor upstream.
//  3. Look up (read.go). A fresh record in memory is the answer: go to 7.
//  4. Collapse (package cache). Who asks for the same prospect with the same key while a read is under way waits for it.
//     The read goes on when its first caller leaves.
//  5. Fetch (fetch.go). One GET to the upstream (package knock), bounded in time and size. What the answer means is
//     settled before anything else looks at it; package policy decides whether it may be kept, and for how long.
//  6. Store (package cache). Unless a purge, a write or a newer answer overtook it.
//  7. Respond (respond.go). The only file that writes an answer: the whole of it, 304, or an error in Knock's shape
//     (problems.go).
//
// Each stage takes the value before it and returns the next; nothing calls back up.
package proxy
