package knocktest

import (
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func answering(make func(x *exchange) Answer) Fault {
	return ending(func(x *exchange) error {
		x.reply(make(x))
		x.version = 0 // it no longer shows what was read
		return nil
	})
}

// Raw answers with a, whatever was asked. The gateway's ids are added if a does not have them.
func Raw(a Answer) Fault {
	return answering(func(*exchange) Answer { return a })
}

// Show answers with a prospect as given, whoever asks for whichever: an API that shows a write late, say.
func Show(p Prospect) Fault {
	a := jsonAnswer(http.StatusOK, p)
	return answering(func(*exchange) Answer { return a })
}

// Status answers with a status and, from 400 on, with an errorMessage of Knock's shape that says nothing more. A
// status below 400 is put on the answer that would have been given.
func Status(status int) Fault {
	if status < http.StatusBadRequest {
		return changing(func(x *exchange) { x.answer.Status = status })
	}
	return Raw(knockError(status, "%s", statusText(status)))
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "Status " + strconv.Itoa(status)
}

// Failure is Status worded by whoever answers with that status in earnest: 403, 429 and 504 by Amazon's gateway, 404
// by Knock for a prospect that does not exist.
func Failure(status int) Fault {
	switch status {
	case http.StatusForbidden:
		return Forbidden()
	case http.StatusNotFound:
		return DoesNotExist(status)
	case http.StatusTooManyRequests:
		return TooManyRequests(0)
	case http.StatusGatewayTimeout:
		return GatewayTimeout()
	}
	return Status(status)
}

// DoesNotExist answers that the prospect asked for does not exist, under a status of choice, since the article "Knock
// Get Prospect API" names none.
func DoesNotExist(status int) Fault {
	return answering(func(x *exchange) Answer { return doesNotExist(status, x.request.ProspectID) })
}

// Forbidden is the gateway's 403 for a key that it does not know.
func Forbidden() Fault { return Raw(forbidden()) }

// TooManyRequests is the gateway's 429 for too many requests a second. Amazon sends no Retry-After; if retryAfter is
// not 0, it is sent in seconds, rounded up.
func TooManyRequests(retryAfter time.Duration) Fault {
	a := gatewayError(http.StatusTooManyRequests, "TooManyRequestsException", "Too Many Requests")
	if retryAfter > 0 {
		a.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(retryAfter.Seconds()))))
	}
	return Raw(a)
}

// LimitExceeded is the gateway's 429 for a quota, of a day or a month, that is used up.
func LimitExceeded() Fault {
	return Raw(gatewayError(http.StatusTooManyRequests, "LimitExceededException", "Limit Exceeded"))
}

// GatewayTimeout is the gateway's 504, which it gives after 29 seconds; here it comes at once.
func GatewayTimeout() Fault {
	return Raw(gatewayError(http.StatusGatewayTimeout, "InternalServerErrorException", "Endpoint request timed out"))
}

// ShowVersion adds X-Knocktest-Version to answers that show a prospect: the version of what they show.
func ShowVersion() Fault {
	return changing(func(x *exchange) {
		if x.version > 0 {
			x.answer.Header.Set("X-Knocktest-Version", strconv.Itoa(x.version))
		}
	})
}

// Validators adds a strong ETag, of the version and the body, and Last-Modified, of updatedAt, to answers that show a
// prospect, and answers matching conditions with 304 (RFC 9110 13.1.2, 13.1.3). Knock documents neither.
func Validators() Fault {
	return changing(func(x *exchange) {
		if x.version == 0 || x.answer.Status != http.StatusOK {
			return
		}
		hash := fnv.New64a()
		_, _ = hash.Write(x.answer.Body)
		etag := fmt.Sprintf(`"%d-%x"`, x.version, hash.Sum64())
		x.answer.Header.Set("Etag", etag)
		x.answer.Header.Set("Last-Modified", x.updated.UTC().Format(http.TimeFormat))
		if notModified(x.request.Header, etag, x.updated) {
			x.answer.Status, x.answer.Body = http.StatusNotModified, nil
			x.answer.Header.Del("Content-Type")
		}
	})
}

func notModified(conditions http.Header, etag string, updated time.Time) bool {
	if lines := conditions.Values("If-None-Match"); len(lines) > 0 {
		// Our tags hold no comma, so splitting there finds ours if it is listed.
		for tag := range strings.SplitSeq(strings.Join(lines, ","), ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(conditions.Get("If-Modified-Since"))
	return err == nil && !updated.Truncate(time.Second).After(since)
}
