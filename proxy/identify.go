package proxy

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"knockproxy/metrics"
	"knockproxy/proxy/knock"
)

// Partner is a vendor whose upstream key the proxy holds: its clients send one of the tokens instead.
type Partner struct {
	Name   string
	APIKey string
	Tokens []string
}

const (
	maxKeyBytes = 256     // of a client's x-api-key
	maxMemo     = 1 << 14 // keys whose identity is remembered
)

// identity is one upstream key as the proxy knows it. All that one key may see is one partition; nothing crosses it.
type identity struct {
	key       []string // the upstream key, as the value of x-api-key
	partition [16]byte
	scope     string // whose purge empties the partition
	partner   *metrics.Partner
	emptied   atomic.Int64 // when the upstream's refusal of the key last emptied the partition, Unix nanoseconds
}

// mayEmpty tells, at most once a second, that the partition is to be emptied since the upstream refused the key.
func (id *identity) mayEmpty(now time.Time) bool {
	last := id.emptied.Load()
	return now.UnixNano()-last >= int64(time.Second) && id.emptied.CompareAndSwap(last, now.UnixNano())
}

// keyring finds the identity behind a client's key.
type keyring struct {
	origin        string
	tokenKey      []byte // hashes tokens, so that looking one up takes as long whatever is known
	partitionKey  []byte
	byToken       map[[sha256.Size]byte]*identity
	scopes        map[string]string // upstream key -> scope of the partner that has it
	byName        map[string]string // partner -> scope
	allowUnlisted bool
	unlisted      *metrics.Partner
	none          *metrics.Partner
	memo          *otter.Cache[string, *identity]
}

func newKeyring(o *Options) (*keyring, error) {
	secret := []byte(o.Secret)
	if len(secret) == 0 { // nothing outlives the process
		secret = make([]byte, 32)
		_, _ = rand.Read(secret) // never fails, by its documentation
	}
	k := &keyring{
		origin:        o.Client.Origin(),
		byToken:       make(map[[sha256.Size]byte]*identity),
		scopes:        make(map[string]string),
		byName:        make(map[string]string),
		allowUnlisted: o.AllowUnlisted,
		unlisted:      o.Metrics.Partner(metrics.Unlisted),
		none:          o.Metrics.Partner(metrics.None),
	}
	var err error
	if k.tokenKey, err = hkdf.Key(sha256.New, secret, nil, "knockproxy token", 32); err != nil {
		return nil, fmt.Errorf("deriving a key from the secret: %w", err)
	}
	if k.partitionKey, err = hkdf.Key(sha256.New, secret, nil, "knockproxy partition", 32); err != nil {
		return nil, fmt.Errorf("deriving a key from the secret: %w", err)
	}
	if k.memo, err = otter.New(&otter.Options[string, *identity]{MaximumSize: maxMemo}); err != nil {
		return nil, fmt.Errorf("making the memory of keys: %w", err)
	}
	for _, p := range o.Partners {
		k.add(p, o.Metrics.Partner(p.Name))
	}
	return k, nil
}

// add makes a partner's tokens known. Partners that share an upstream key share its partition, and the first one's scope.
func (k *keyring) add(p Partner, labels *metrics.Partner) {
	if _, known := k.scopes[p.APIKey]; !known {
		k.scopes[p.APIKey] = p.Name
	}
	k.byName[p.Name] = k.scopes[p.APIKey]
	id := k.identity(p.APIKey, labels)
	for _, token := range p.Tokens {
		k.byToken[k.tokenHash(token)] = id
	}
}

// identify finds the identity of a request by its key. Without a key, and without a problem, there is none.
func (k *keyring) identify(h http.Header) (*identity, *problem) {
	lines := h[knock.KeyHeader]
	switch {
	case len(lines) == 0, len(lines) == 1 && lines[0] == "":
		return nil, nil
	case len(lines) > 1:
		return nil, keySeveral
	case len(lines[0]) > maxKeyBytes:
		return nil, keyTooLong
	}
	if id, ok := k.memo.GetIfPresent(lines[0]); ok {
		return id, nil
	}
	id, listed := k.byToken[k.tokenHash(lines[0])]
	if !listed {
		if !k.allowUnlisted {
			return nil, keyUnknown
		}
		id = k.identity(lines[0], k.unlisted)
	}
	id, _ = k.memo.SetIfAbsent(lines[0], id)
	return id, nil
}

// labels are the metrics that a request counts for, whatever became of it.
func (k *keyring) labels(id *identity, h http.Header) *metrics.Partner {
	switch {
	case id != nil:
		return id.partner
	case h.Get(knock.KeyHeader) != "":
		return k.unlisted
	}
	return k.none
}

func (k *keyring) identity(key string, labels *metrics.Partner) *identity {
	id := &identity{key: []string{key}, partition: k.partition(key), partner: labels}
	var listed bool
	if id.scope, listed = k.scopes[key]; !listed {
		id.scope = hex.EncodeToString(id.partition[:])
	}
	return id
}

// partition names what one key may see at one upstream: stage and production may share a Redis.
func (k *keyring) partition(key string) (p [16]byte) {
	mac := hmac.New(sha256.New, k.partitionKey)
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(k.origin))) // so that origin and key cannot run into each other
	mac.Write(length[:])
	mac.Write([]byte(k.origin))
	mac.Write([]byte(key))
	copy(p[:], mac.Sum(nil))
	return p
}

func (k *keyring) tokenHash(token string) (h [sha256.Size]byte) {
	mac := hmac.New(sha256.New, k.tokenKey)
	mac.Write([]byte(token))
	mac.Sum(h[:0])
	return h
}
