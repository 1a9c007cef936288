package cache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/maypok86/otter/v2"
)

// sealer encrypts what Redis holds: AES-256-GCM under random nonces, with a key for each hour. One key with random nonces
// is good for 2^32 records only (NIST SP 800-38D, section 8.3).
type sealer struct {
	secret []byte
	keys   *otter.Cache[int64, cipher.AEAD] // by hour
}

// sealerKeys is how many hours' keys are remembered: more than any record is kept.
const sealerKeys = 48

func newSealer(secret []byte) (*sealer, error) {
	keys, err := otter.New(&otter.Options[int64, cipher.AEAD]{MaximumSize: sealerKeys})
	if err != nil {
		return nil, err
	}
	return &sealer{secret: secret, keys: keys}, nil
}

// aead is the cipher of records sent at a time, in ms of Redis's clock. Its nonce is made, and put before the text, by Seal.
func (s *sealer) aead(sent int64) (cipher.AEAD, error) {
	hour := sent / 3_600_000
	if a, ok := s.keys.GetIfPresent(hour); ok {
		return a, nil
	}
	key, err := hkdf.Key(sha256.New, s.secret, nil, "knockproxy record "+string(binary.BigEndian.AppendUint64(nil, uint64(hour))), 32) //nolint:gosec // as bits
	if err != nil {
		return nil, fmt.Errorf("deriving an hour's key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making an hour's cipher: %w", err)
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("making an hour's cipher: %w", err)
	}
	s.keys.Set(hour, a)
	return a, nil
}
