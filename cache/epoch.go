package cache

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/go-redis/v9"
)

// epoch names a span of time in which nothing of a scope was purged: a purge deletes its token. Epochs are compared for equality, never ordered: one
// that Redis lost or evicted is a miss, and brings nothing back.
type epoch [8]byte

// epochsOf are those that rule a record: of all, and of its scope.
type epochsOf struct {
	values [2]epoch
	asked  time.Time // when Redis was asked
	gen    uint64    // the key's generation before that
}

// epochs remembers what Redis said, for a short time.
type epochs struct {
	keep    time.Duration // how long a token lives in Redis
	byScope *otter.Cache[string, epochsOf]
	renewed *otter.Cache[string, time.Time] // when a scope's tokens were last kept from expiring
}

// maxScopes is how many scopes' epochs are remembered.
const maxScopes = 1 << 14

// epochLife is a token's life in the longest keeping times of a record: a record never outlives its epochs by accident.
const epochLife = 2

func newEpochs(keep time.Duration) (*epochs, error) {
	byScope, err := otter.New(&otter.Options[string, epochsOf]{MaximumSize: maxScopes})
	if err != nil {
		return nil, err
	}
	renewed, err := otter.New(&otter.Options[string, time.Time]{MaximumSize: maxScopes})
	if err != nil {
		return nil, err
	}
	return &epochs{keep: max(keep, time.Minute), byScope: byScope, renewed: renewed}, nil
}

// known are a scope's epochs if Redis was asked within the time given, and nothing was purged here since.
func (e *epochs) known(scope string, within time.Duration, gen uint64) (epochsOf, bool) {
	got, ok := e.byScope.GetIfPresent(scope)
	return got, ok && got.gen == gen && time.Since(got.asked) < within
}

// fetchEpochs asks Redis for a scope's epochs and its time in one round trip, with another command beside them. A token
// that is missing is made; one that has not been kept alive for long is.
func (r *remote) fetchEpochs(ctx context.Context, scope string, gen uint64, beside func(redis.Pipeliner) func() error) (epochsOf, error) {
	names := [2]string{r.epochKey("all"), r.epochKey(scope)}
	e := epochsOf{gen: gen}
	var read func() error
	err := r.op(ctx, "epochs", func(ctx context.Context) error {
		e.asked = time.Now()
		p := r.client.Pipeline()
		tokens := [2]*redis.StringCmd{p.Get(ctx, names[0]), p.Get(ctx, names[1])}
		now := p.Time(ctx)
		if beside != nil {
			read = beside(p)
		}
		_, _ = p.Exec(ctx) // each command has its own error
		at, err := now.Result()
		if err != nil {
			return err
		}
		r.clock.measure(at.UnixMilli(), e.asked, time.Now())
		for i, token := range tokens {
			text, err := token.Result()
			if ignoreAbsent(err) != nil {
				return err
			}
			if err != nil {
				if redis.HasErrorPrefix(err, "WRONGTYPE") {
					r.client.Del(ctx, names[i]) // not ours
				}
				if text, err = r.makeToken(ctx, names[i]); err != nil {
					return err
				}
			}
			e.values[i] = epochOf(text)
		}
		if read != nil {
			return ignoreAbsent(read())
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	r.epochs.byScope.Set(scope, e)
	r.keepTokens(ctx, scope, names)
	return e, nil
}

func (r *remote) epochKey(scope string) string { return r.prefix + "2:epoch:" + scope }

// makeToken sets a token where there is none, and returns the one that is there then.
func (r *remote) makeToken(ctx context.Context, name string) (string, error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	p := r.client.Pipeline()
	p.SetNX(ctx, name, hex.EncodeToString(b[:]), epochLife*r.epochs.keep)
	token := p.Get(ctx, name)
	if _, err := p.Exec(ctx); err != nil {
		return "", err
	}
	return token.Result()
}

// keepTokens puts off the expiry of a scope's tokens, now and then.
func (r *remote) keepTokens(ctx context.Context, scope string, names [2]string) {
	now := time.Now()
	if last, ok := r.epochs.renewed.GetIfPresent(scope); ok && now.Sub(last) < r.epochs.keep/2 {
		return
	}
	r.epochs.renewed.Set(scope, now)
	_ = r.op(ctx, "epochs", func(ctx context.Context) error { // one that expires is a miss
		p := r.client.Pipeline()
		for _, name := range names {
			p.PExpire(ctx, name, epochLife*r.epochs.keep)
		}
		_, err := p.Exec(ctx)
		return err
	})
}

// epochOf is the epoch that a token stands for, whatever was found in its place.
func epochOf(token string) (e epoch) {
	sum := sha256.Sum256([]byte(token))
	copy(e[:], sum[:])
	return e
}
