package proxy

import (
	"context"
	"net/http"
	"time"

	"knockproxy/cache"
	"knockproxy/proxy/knock"
	"knockproxy/proxy/policy"
)

// fetch asks the upstream for one prospect and judges its answer. own are the header fields that only the request which
// asked may have.
func (p *Proxy) fetch(ctx context.Context, header http.Header, id *identity, key cache.Key, auth bool) (got cache.Fetched[*policy.Answer], own http.Header, err error) {
	said, err := p.client.Prospect(ctx, knock.Query{ID: key.ID, Key: id.key[0], Header: header, Partner: id.partner})
	if err != nil {
		return got, nil, err
	}
	p.heedRefusal(ctx, said.Class, id, key)
	life := policy.Storable(&policy.Request{Authorization: auth}, &policy.Response{
		Status: said.Status, Header: said.Header, Body: bodyOf(said), Sent: said.Sent, Received: said.Received,
	}, &p.caps)
	if life.Why != "" {
		p.metrics.Uncacheable(string(life.Why))
	}
	p.relativeLocation(said.Header)
	answer, own := policy.Render(said.Status, said.Header, said.Body, said.Received)
	answer.Age, answer.NotExist = life.Age, said.Class == knock.NotExist
	got.Record = cache.Record[*policy.Answer]{Value: answer, Sent: said.Sent, Fresh: said.Sent.Add(life.Fresh), Keep: said.Sent.Add(life.Keep)}
	got.Store = life.Keep > 0
	got.Failed = said.Class == knock.Failed && said.Status != http.StatusInternalServerError
	got.Ends = answer.NotExist
	got.Share = got.Store || answer.NotExist || said.Status >= 400
	return got, own, nil
}

// bodyOf tells the policy what the body was found to be.
func bodyOf(said *knock.Answer) policy.Body {
	notExist := said.Class == knock.NotExist
	return policy.Body{
		Prospect:  said.Fields.IDs == knock.IDSame,
		Other:     said.Fields.IDs == knock.IDOther,
		NotExist:  notExist,
		NoConsent: notExist || said.Status == http.StatusOK && said.Fields.NoConsent,
	}
}

// heedRefusal drops what a key may no longer see: all of its partition where the key is refused, at most once a second,
// this prospect's where only that is.
func (p *Proxy) heedRefusal(ctx context.Context, class knock.Class, id *identity, key cache.Key) {
	switch class {
	case knock.KeyRefused:
		if id.mayEmpty(time.Now()) {
			_, _ = p.cache.Drop(ctx, cache.Scope(id.scope), cache.ByAuth) // gone here at least
		}
	case knock.ProspectDenied:
		p.cache.DropKey(ctx, key, cache.ByAuth)
	}
}

// relativeLocation makes a redirect to the upstream's own origin one that holds at the proxy.
func (p *Proxy) relativeLocation(h http.Header) {
	if lines := h["Location"]; len(lines) == 1 {
		h["Location"] = []string{p.client.Relative(lines[0])}
	}
}
