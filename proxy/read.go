package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"knockproxy/cache"
	"knockproxy/metrics"
	"knockproxy/proxy/knock"
	"knockproxy/proxy/policy"
)

// read answers a prospect read: from memory where that is fresh, else by one upstream read that all share who ask for
// the same with the same key.
func (p *Proxy) read(w http.ResponseWriter, r *http.Request, id *identity, prospect string, now time.Time, requestID []string) outcome {
	key := cache.Key{Partition: id.partition, ID: prospect, Scope: id.scope}
	rec := p.cache.Get(key, now)
	if rec != nil && now.Before(rec.Fresh) {
		return p.answerHit(w, r, rec, now, requestID)
	}
	return p.fill(w, r, id, key, rec != nil, requestID)
}

// fill answers a prospect read that memory has no fresh answer for.
func (p *Proxy) fill(w http.ResponseWriter, r *http.Request, id *identity, key cache.Key, stale bool, requestID []string) outcome {
	var own http.Header // for this request only: what the upstream said to it alone, if the fetch was ours
	auth := len(r.Header["Authorization"]) > 0
	need := cache.Need[*policy.Answer]{OK: fresh, Alone: auth}
	got, err := p.cache.Fill(r.Context(), key, need, func(ctx context.Context, _ *cache.Record[*policy.Answer]) (cache.Fetched[*policy.Answer], error) {
		fetched, only, err := p.fetch(ctx, r.Header, id, key, auth)
		own = only
		return fetched, err
	})
	switch {
	case err != nil:
		return p.answerFailure(w, r, err, requestID)
	case got.Source == cache.Memory, got.Source == cache.Redis && !got.Collapsed:
		return p.answerFound(w, r, got, requestID)
	}
	how := policy.Status{Fwd: policy.FwdMiss, FwdStatus: got.New.Value.Status, Stored: got.Stored, Collapsed: got.Collapsed}
	if stale {
		how.Fwd = policy.FwdStale
	}
	o := outcome{result: metrics.Miss, tier: metrics.TierNone, detail: how.String()}
	if got.Collapsed {
		o.result = metrics.Collapsed
	}
	o.status, o.bytes = respond(w, r, got.New.Value, own, nil, cacheStatus(got.New.Value, o.detail), requestID)
	return o
}

func fresh(rec *cache.Record[*policy.Answer]) bool { return time.Now().Before(rec.Fresh) }

// cacheStatus appends our member to the upstream's.
func cacheStatus(a *policy.Answer, member string) []string {
	if a.Before != "" {
		member = a.Before + ", " + member
	}
	return []string{member}
}

// answerHit answers from a fresh record.
func (p *Proxy) answerHit(w http.ResponseWriter, r *http.Request, rec *cache.Record[*policy.Answer], now time.Time, requestID []string) outcome {
	a := rec.Value
	age := a.Age + now.Sub(rec.Sent)
	status, n := respond(w, r, a, nil, policy.AgeValue(age), policy.HitStatus(rec.Fresh.Sub(now), a.NotExist, a.Before), requestID)
	p.metrics.ServedAge(age)
	return outcome{result: metrics.Hit, tier: metrics.TierMemory, status: status, bytes: n}
}

// answerFound answers from what a flight found in memory or in Redis.
func (p *Proxy) answerFound(w http.ResponseWriter, r *http.Request, got cache.Result[*policy.Answer], requestID []string) outcome {
	now := time.Now()
	if got.Source == cache.Memory {
		return p.answerHit(w, r, got.New, now, requestID)
	}
	a, age := got.New.Value, got.New.Value.Age+now.Sub(got.New.Sent)
	how := policy.Status{TTL: got.New.Fresh.Sub(now), Detail: "redis"}
	if a.NotExist {
		how.Detail = "negative"
	}
	status, n := respond(w, r, a, nil, policy.AgeValue(age), cacheStatus(a, how.String()), requestID)
	p.metrics.ServedAge(age)
	return outcome{result: metrics.Hit, tier: metrics.TierRedis, status: status, bytes: n}
}

// answerFailure answers a read that brought no answer.
func (p *Proxy) answerFailure(w http.ResponseWriter, r *http.Request, err error, requestID []string) outcome {
	o := outcome{result: metrics.Error, tier: metrics.TierNone, fault: err}
	if r.Context().Err() != nil {
		o.result, o.status, o.broken = metrics.Miss, statusLeft, true // or net/http would make up a 200
		return o
	}
	if errors.Is(err, cache.ErrPanic) {
		p.log.Error("panic", "stack", err.Error())
		o.fault = cache.ErrPanic
	}
	if errors.Is(err, cache.ErrFailedElsewhere) {
		o.status, o.bytes = respondProblem(w, r, failedElsewhere, requestID)
		return o
	}
	o.status, o.bytes = respondProblem(w, r, problemOf(knock.AsError(err)), requestID)
	return o
}

// refuse answers a request that the proxy does not take.
func (p *Proxy) refuse(w http.ResponseWriter, r *http.Request, why *problem, requestID []string) outcome {
	o := outcome{result: metrics.Rejected, tier: metrics.TierNone}
	o.status, o.bytes = respondProblem(w, r, why, requestID)
	return o
}
