package main

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The rules that rows of the table name: each says "must …" of a value that its kind could read.

func positive(d time.Duration) error {
	if d <= 0 {
		return errors.New("must be positive")
	}
	return nil
}

func notNegative(d time.Duration) error {
	if d < 0 {
		return errors.New("must not be negative")
	}
	return nil
}

// upTo bounds a size: one of more bytes than any machine this runs on has is a unit mistaken.
func upTo(most int64) func(int64) error {
	return func(n int64) error {
		if n <= 0 || n > most {
			return fmt.Errorf("must be positive and at most %s", shortSize(most))
		}
		return nil
	}
}

func atLeast32Bytes(secret string) error {
	if len(secret) < 32 {
		return errors.New("must be 32 bytes or more")
	}
	return nil
}

// redisURL is of one server. The client's own words may quote a password, so they are not repeated.
func redisURL(address string) error {
	if _, err := redis.ParseURL(address); err != nil {
		return errors.New("must be a URL of Redis: redis://, rediss:// or unix://")
	}
	return nil
}

// keyPrefix is of names in Redis: a brace would move the keys of a prospect into one slot of a cluster with others'.
func keyPrefix(prefix string) error {
	if prefix == "" || len(prefix) > 64 || strings.ContainsAny(prefix, "{}") {
		return errors.New("must be 1 to 64 bytes without braces")
	}
	return nil
}

// baseURL is of what a path can be put after.
func baseURL(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return errors.New("must begin with http:// or https:// and a host")
	case strings.HasSuffix(u.Host, ":"), u.Port() != "" && portNumber(u.Port()) < 1:
		return errors.New("must have a port of 1 to 65535, or none")
	case u.User != nil:
		return errors.New("must have no user and no password")
	case u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return errors.New("must have no query and no fragment")
	}
	return nil
}

// headerValue is of what travels in a request header, and is the same there as it was written here.
func headerValue(v string) error {
	switch {
	case v == "":
		return errors.New("must not be empty")
	case len(v) > 256:
		return errors.New("must be at most 256 bytes")
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' }):
		return errors.New("must be printable ASCII")
	case strings.Trim(v, " ") != v:
		return errors.New("must not begin or end with a space")
	}
	return nil
}

func notEmpty(tokens []string) error {
	if len(tokens) == 0 {
		return errors.New("must not be empty")
	}
	return nil
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$`)

// partnerName is of labels: a partner is counted under its name, and nobody else may be.
func partnerName(name string) error {
	switch {
	case name == "unlisted", name == "none":
		return errors.New("must not be unlisted or none, which are what metrics call the other clients")
	case !namePattern.MatchString(name):
		return errors.New(`must be 1 to 64 letters, digits, spaces, ".", "_" and "-", beginning with a letter or a digit`)
	}
	return nil
}

// The rules about more than one key at once.

// checkListeners refuses one address for both listeners. Port 0 is a free port of its own for each.
func (l *configLoader) checkListeners(c *config) {
	const public, admin = "server.listen", "admin.listen"
	if c.Server.Listen != c.Admin.Listen || strings.HasSuffix(c.Server.Listen, ":0") {
		return
	}
	// What was refused left its default, which nobody said.
	if l.refused(public) || l.refused(admin) {
		return
	}
	// The defaults differ, so one of the two was said.
	if at, said := l.said[admin]; said {
		l.refuse(at, fmt.Sprintf("must differ from %s, got %s", public, c.Admin.Listen))
		return
	}
	l.refuse(l.said[public], fmt.Sprintf("must differ from %s, got %s", admin, c.Server.Listen))
}

// checkSecret refuses a Redis without the secret that what it holds is sealed with.
func (l *configLoader) checkSecret(c *config) {
	if c.Cache.Redis.URL == "" || c.Cache.Secret != "" || l.refused("cache.secret") {
		return
	}
	at := l.said["cache.redis.url"]
	at.path = "cache.secret"
	l.refuse(at, "must be given with cache.redis.url")
}

// checkPartners refuses what would make two partners one, and tokens that no request could send. What a fault has
// already been found in is empty here.
func (l *configLoader) checkPartners(partners []partnerConfig) {
	names := make(map[string]string)   // a name -> the path of it
	holders := make(map[string]string) // a token or a key to the upstream -> the path of it
	for i, p := range partners {
		path := elementPath(partnersPath, i)
		if first, twice := names[p.Name]; twice && p.Name != "" {
			l.refuse(l.said[path+".name"], fmt.Sprintf("must differ from %s, got %s", first, p.Name))
		} else {
			names[p.Name] = path + ".name"
		}
		// Two partners may share a key, which is for the upstream alone to tell apart.
		holders[p.APIKey] = path + ".api_key"
	}
	for i, p := range partners {
		path := elementPath(partnersPath, i) + ".tokens"
		for j, token := range p.Tokens {
			l.checkToken(path, j, token, holders)
		}
	}
}

// checkToken checks the token i of the list at path against the rules of one and, in holders, all before it.
func (l *configLoader) checkToken(path string, i int, token string, holders map[string]string) {
	at := l.said[path]
	if line, ok := l.lines[elementPath(at.path, i)]; ok {
		at.line = line
	}
	item := "tokens[" + strconv.Itoa(i) + "] "
	if err := headerValue(token); err != nil {
		l.refuse(at, item+err.Error())
		return
	}
	if first, twice := holders[token]; twice {
		l.refuse(at, item+"must differ from "+first)
		return
	}
	holders[token] = elementPath(path, i)
}
