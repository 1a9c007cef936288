package cache

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"knockproxy/metrics"
)

// RedisOptions configure the tier that replicas share. URL, Secret and Codec are required.
type RedisOptions struct {
	URL     string        // redis://, rediss:// or unix://
	Prefix  string        // of every key; if empty, "knockproxy:"
	Timeout time.Duration // of one operation; if zero, 50 ms
	Secret  string        // seals the records; 32 bytes or more
	Log     *slog.Logger  // changes of state; if nil, none

	dial func(ctx context.Context, network, address string) (net.Conn, error) // for tests; if nil, the client's own
}

// errAway is an operation that was not tried: Redis is in trouble, and left alone for a moment.
var errAway = errors.New("redis is left alone")

// remote is the tier that replicas share. All its failures are answered by going on without it.
type remote struct {
	client  redis.UniversalClient
	breaker circuitbreaker.CircuitBreaker[any]
	prefix  string
	timeout time.Duration
	clock   *clock
	sealer  *sealer
	epochs  *epochs
	metrics *metrics.Redis
	up      atomic.Bool
	closing atomic.Bool
	failure atomic.Pointer[error] // the last one, for the log
	busy    chan struct{}         // holds as many as there are connections
	stop    chan struct{}
	watched sync.WaitGroup
}

// Settings of the client, from trials of outages: with the defaults a hung Redis costs every call its whole time-out, and
// without the breaker a slow one a storm of dials.
const (
	poolSize      = 32
	breakerTrips  = 5 // failures in a row
	breakerRests  = 500 * time.Millisecond
	maxConcurrent = 4 // dials
)

func newRemote(o *RedisOptions, keep time.Duration, m *metrics.Metrics) (*remote, error) {
	ro, err := redis.ParseURL(o.URL)
	if err != nil {
		return nil, errors.New("the redis URL is none") // its text may hold a password
	}
	r := &remote{prefix: o.Prefix, timeout: o.Timeout, clock: newClock(), metrics: m.WithRedis()}
	if r.prefix == "" {
		r.prefix = "knockproxy:"
	}
	if r.timeout == 0 {
		r.timeout = 50 * time.Millisecond
	}
	ro.ContextTimeoutEnabled = true
	ro.MaxRetries, ro.DialerRetries = -1, 1
	ro.DialTimeout, ro.ReadTimeout, ro.WriteTimeout, ro.PoolTimeout = r.timeout, r.timeout, r.timeout, r.timeout
	ro.PoolSize, ro.MaxActiveConns, ro.MaxConcurrentDials, ro.PipelinePoolSize = poolSize, poolSize, maxConcurrent, -1
	ro.DisableIdentity = true
	ro.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	redis.SetLogger(quiet{})
	if o.dial != nil {
		ro.Dialer = o.dial
	}
	r.client = redis.NewClient(ro)
	if r.sealer, err = newSealer([]byte(o.Secret)); err != nil {
		return nil, err
	}
	if r.epochs, err = newEpochs(keep); err != nil {
		return nil, err
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r.breaker = r.newBreaker(log)
	r.up.Store(true)
	r.metrics.Up(true)
	r.metrics.Clock(r.clock.ahead)
	r.metrics.Pool(r.poolStats)
	r.busy = make(chan struct{}, poolSize)
	r.stop = make(chan struct{})
	r.watched.Go(r.watch)
	return r, nil
}

// quiet keeps the client from a line on stderr for each dial that fails: the breaker's changes are logged, once.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// watch probes a Redis that is left alone, though nobody may need it just then: memory answers meanwhile, for longer than
// it should once Redis is back.
func (r *remote) watch() {
	tick := time.NewTicker(breakerRests / 2)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
			if !r.up.Load() {
				_ = r.op(context.Background(), "probe", r.takesWrites) // its state tells
			}
		}
	}
}

// takesWrites is the probe: a Redis that is full, read-only or runs no scripts still reads, and is of no use.
func (r *remote) takesWrites(ctx context.Context) error {
	return answered(probeScript.Run(ctx, r.client, []string{r.prefix + "2:probe"}).Err())
}

var probeScript = redis.NewScript(`return redis.call('SET', KEYS[1], '1', 'PX', 1000)`)

// newBreaker leaves a failing Redis alone, but for one probe at a time. A change between in use and left alone is logged
// once; a probe that fails is no change.
func (r *remote) newBreaker(log *slog.Logger) circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(breakerTrips).WithDelay(breakerRests).WithSuccessThreshold(1).
		OnStateChanged(func(e circuitbreaker.StateChangedEvent) {
			r.metrics.Breaker(map[circuitbreaker.State]int{circuitbreaker.ClosedState: 0, circuitbreaker.HalfOpenState: 1, circuitbreaker.OpenState: 2}[e.NewState])
			switch e.NewState {
			case circuitbreaker.OpenState:
				if r.up.CompareAndSwap(true, false) && !r.closing.Load() {
					r.metrics.Up(false)
					log.Warn("redis is away: memory alone answers, each replica reads upstream for itself", "err", r.lastFailure())
				}
			case circuitbreaker.ClosedState:
				if r.up.CompareAndSwap(false, true) {
					r.metrics.Up(true)
					log.Info("redis is back")
				}
			}
		}).Build()
}

// lastFailure is why Redis is left alone.
func (r *remote) lastFailure() error {
	if err := r.failure.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *remote) close() {
	r.closing.Store(true)
	close(r.stop)
	r.watched.Wait()
	_ = r.client.Close() // what is under way fails, and does without
}

func (r *remote) poolStats() metrics.PoolStats {
	s := r.client.PoolStats()
	return metrics.PoolStats{Hits: s.Hits, Misses: s.Misses, Timeouts: s.Timeouts, Total: s.TotalConns, Idle: s.IdleConns, Stale: s.StaleConns}
}

// op runs one operation: within its time, past the breaker, counted. do's redis.Nil, and an error that concerns one key
// only, are no failures. Where Redis has been left alone it must take a write first.
func (r *remote) op(ctx context.Context, name string, do func(ctx context.Context) error) error {
	// Waiting for one of our own connections is not Redis's delay: it must not count against it.
	r.busy <- struct{}{}
	defer func() { <-r.busy }()
	if !r.breaker.TryAcquirePermit() {
		return errAway
	}
	if r.breaker.IsHalfOpen() {
		if err := r.try(ctx, "probe", r.takesWrites); err != nil {
			return err
		}
	}
	return r.try(ctx, name, do)
}

// try is op without asking the breaker first: for what must not be left undone untried.
func (r *remote) try(ctx context.Context, name string, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout)
	defer cancel()
	began := time.Now()
	err := do(ctx)
	r.metrics.Operation(name, time.Since(began))
	if err == nil || errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "WRONGTYPE") {
		r.breaker.RecordSuccess()
		return err
	}
	r.failure.Store(&err)
	r.breaker.RecordFailure()
	var refusal redis.Error
	if errors.As(err, &refusal) { // full, read-only, loading, forbidden, …: asking again at once is in vain
		r.breaker.Open()
	}
	r.metrics.Failed(name)
	return fmt.Errorf("redis %s: %w", name, err)
}

// hash is the key of all that Redis holds of a prospect. Its braces keep the hash in one slot of a cluster.
func (r *remote) hash(id string) string { return r.prefix + "2:{" + id + "}" }

var (
	//go:embed lua/acquire.lua
	acquireLua string
	//go:embed lua/renew.lua
	renewLua string
	//go:embed lua/put.lua
	putLua string
	//go:embed lua/fail.lua
	failLua string
	//go:embed lua/drop.lua
	dropLua string

	acquireScript, renewScript, putScript = redis.NewScript(acquireLua), redis.NewScript(renewLua), redis.NewScript(putLua)
	failScript, dropScript                = redis.NewScript(failLua), redis.NewScript(dropLua)
)

// slotOf names where one key's record and lease lie.
type slotOf struct{ hash, record, lease string }

func (r *remote) slot(k Key) slotOf {
	p := fmt.Sprintf("%x", k.Partition)
	return slotOf{r.hash(k.ID), "r" + p, "l" + p}
}

// What acquire found.
const (
	foundRecord  = "record"
	foundBusy    = "busy"
	foundFailed  = "failed"
	foundOther   = "other"
	foundGranted = "granted"
)

// acquire takes the lease unless there is a record other than the one seen, or somebody else holds it. A lease of other
// epochs is taken over only where ours are sure: asked for after it was met.
func (r *remote) acquire(ctx context.Context, s slotOf, seen, token string, e epochsOf, sure bool, lease time.Duration) (found string, record []byte, err error) {
	epochs := fmt.Sprintf("%x%x", e.values[0], e.values[1])
	err = r.op(ctx, "acquire", func(ctx context.Context) error {
		said, err := acquireScript.Run(ctx, r.client, []string{s.hash},
			s.record, s.lease, seen, token, lease.Milliseconds(), epochs, sure, failureShared.Milliseconds()).StringSlice()
		if err == nil && len(said) == 0 {
			err = redis.Nil
		}
		if err != nil {
			return answered(err)
		}
		if found = said[0]; found == foundRecord && len(said) > 1 {
			record = []byte(said[1])
		}
		return nil
	})
	return found, record, err
}

// answered makes an error of a script's silence, which is an answer for other commands.
func answered(err error) error {
	if errors.Is(err, redis.Nil) {
		return errNoAnswer
	}
	return err
}

var errNoAnswer = errors.New("no answer from a script")

func (r *remote) renew(ctx context.Context, s slotOf, token string, lease time.Duration) (ours bool, err error) {
	err = r.op(ctx, "renew", func(ctx context.Context) error {
		n, err := renewScript.Run(ctx, r.client, []string{s.hash}, s.lease, token, lease.Milliseconds()).Int()
		ours = n == 1
		return answered(err)
	})
	return ours, err
}

// put stores a record; verdict is storedVerdict or the reason for which it was refused.
func (r *remote) put(ctx context.Context, s slotOf, token string, record []byte, keep int64) (verdict string, err error) {
	err = r.op(ctx, "put", func(ctx context.Context) error {
		verdict, err = putScript.Run(ctx, r.client, []string{s.hash}, s.record, s.lease, token, record, keep).Text()
		return answered(err)
	})
	return verdict, err
}

const storedVerdict = "stored"

// fail gives the lease back. Within shared, others learn that the fetch failed; 0: they are to try for themselves.
func (r *remote) fail(ctx context.Context, s slotOf, token string, shared time.Duration) error {
	return r.op(ctx, "fail", func(ctx context.Context) error {
		return failScript.Run(ctx, r.client, []string{s.hash}, s.lease, token, shared.Milliseconds()).Err()
	})
}

// look reads a key's record, and the epochs with it where those known are too old. A record that is not there is nil.
func (r *remote) look(ctx context.Context, k Key, s slotOf, known time.Duration, gen uint64) (raw []byte, e epochsOf, err error) {
	if e, ok := r.epochs.known(k.Scope, known, gen); ok && r.clock.known() {
		err = r.op(ctx, "get", func(ctx context.Context) error {
			raw, err = r.client.HGet(ctx, s.hash, s.record).Bytes()
			return err
		})
		return raw, e, ignoreAbsent(err)
	}
	e, err = r.fetchEpochs(ctx, k.Scope, gen, func(p redis.Pipeliner) func() error {
		cmd := p.HGet(ctx, s.hash, s.record)
		return func() (err error) { raw, err = cmd.Bytes(); return err }
	})
	return raw, e, err
}

// ignoreAbsent takes what is not there, or is of another type, for nothing.
func ignoreAbsent(err error) error {
	if errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "WRONGTYPE") {
		return nil
	}
	return err
}
