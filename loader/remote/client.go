// Package remote reads files over HTTP: of a hub in the manner of the Hugging
// Face Hub, or below any URL. It fetches only the bytes that are asked for, in
// blocks, and keeps few of them.
package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Limits of requests.
const (
	maxTries     = 6
	maxRedirects = 5
	maxConns     = 16               // to one host
	maxWait      = 2 * time.Minute  // that a server may ask for
	stallAfter   = 30 * time.Second // without a byte
	firstWait    = 500 * time.Millisecond
)

// Client sends requests. It is safe for concurrent use once Trust was called.
type Client struct {
	ctx   context.Context // ends all requests; fs.FS has no place for one
	http  *http.Client
	hub   *url.URL
	token string
	cache *cache

	stall time.Duration
	sleep func(context.Context, time.Duration) error
}

// New returns a client whose requests end with ctx. Proxies are those of the
// environment, as net/http takes them. Nothing is sent before somebody asks.
func New(ctx context.Context) *Client {
	c := &Client{ctx: ctx, cache: newCache(cacheBytes), stall: stallAfter, sleep: sleep}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	t.TLSHandshakeTimeout = 10 * time.Second
	t.ResponseHeaderTimeout = stallAfter
	t.MaxConnsPerHost, t.MaxIdleConnsPerHost = maxConns, maxConns
	t.DisableCompression = true // ranges are of the bytes as they are
	c.http = &http.Client{Transport: t, CheckRedirect: checkRedirect}
	return c
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// ParseURL reads the address of a hub, a directory or a file. What belongs to
// one person is refused, since names end up in plans and reports.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it is no URL") // the library's error repeats the text
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, errors.New("it must begin with http:// or https:// and a host")
	case u.User != nil:
		return nil, errors.New("it must not hold a user name or password: they would end up in plans and reports")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("it must not have a query or fragment")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
	return u, nil
}

// Trust names the hub and the token to send there, "" for none. Nobody else
// gets the token, and no connection that can be listened to, unless it stays on
// this machine. Call it before anything else.
func (c *Client) Trust(hub *url.URL, token string) { c.hub, c.token = hub, token }

// authorize puts the token on a request to the hub.
func (c *Client) authorize(r *http.Request) {
	if c.token != "" && c.hub != nil && sameOrigin(r.URL, c.hub) && private(r.URL) {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}

// private reports whether nobody can listen to a request.
func private(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// checkRedirect keeps the token, and the address that may hold a signature, from
// other hosts. net/http would send it on to subdomains.
func checkRedirect(r *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case last.URL.Scheme == "https" && r.URL.Scheme != "https":
		return errors.New("a redirect leads away from https")
	case !sameOrigin(r.URL, via[0].URL):
		r.Header.Del("Authorization")
	}
	r.Header.Del("Referer")
	return nil
}

// temporary is a failure that may pass.
type temporary struct {
	err   error
	after time.Duration // the server asks to wait so long; 0: it does not say
}

func (t *temporary) Error() string { return t.err.Error() }
func (t *temporary) Unwrap() error { return t.err }

// retry calls try until it succeeds, fails for good, or has failed too often.
func (c *Client) retry(try func() error) error {
	for n := 1; ; n++ {
		err := try()
		var t *temporary
		switch {
		case err == nil:
			return nil
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case !errors.As(err, &t):
			return err
		case n == maxTries:
			return fmt.Errorf("%w (tried %d times)", t.err, n)
		case t.after > maxWait:
			return fmt.Errorf("%w; the server asks to wait %s", t.err, t.after.Round(time.Second))
		}
		wait := firstWait << (n - 1)
		wait += rand.N(wait / 2) // so that many clients do not come back at once
		if err := c.sleep(c.ctx, max(wait, t.after)); err != nil {
			return err
		}
	}
}

// get sends one request and hands its answer to read, which gets no other status
// than 200, 206 and 416. header may be nil.
func (c *Client) get(address string, header http.Header, read func(*http.Response) error) error {
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	watch := time.AfterFunc(c.stall, func() { cancel(fmt.Errorf("no data for %s", c.stall)) })
	defer watch.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("the address is no URL")
	}
	for k, v := range header {
		r.Header[k] = v
	}
	r.Header.Set("User-Agent", "mergescope")
	c.authorize(r)
	res, err := c.http.Do(r)
	if err != nil {
		return c.failed(ctx, err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		res.Body = &stallReader{res.Body, watch, c.stall}
		if err := read(res); err != nil {
			var t *temporary
			if errors.As(err, &t) {
				return c.failed(ctx, t.err)
			}
			return err
		}
		return nil
	}
	return c.status(res, r.Header.Get("Authorization") != "")
}

// stallReader puts the end off while bytes come.
type stallReader struct {
	io.ReadCloser
	watch *time.Timer
	stall time.Duration
}

func (s *stallReader) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if n > 0 {
		s.watch.Reset(s.stall)
	}
	return n, err
}

// failed judges an error of the connection. Its text names no address, which may
// hold a signature.
func (c *Client) failed(ctx context.Context, err error) error {
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	if ctx.Err() != nil {
		return &temporary{err: context.Cause(ctx)}
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var dns *net.DNSError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var op *net.OpError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound, errors.As(err, &host), errors.As(err, &authority):
		return err
	case errors.As(err, &op), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &temporary{err: err}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &temporary{err: err}
	}
	// net/http has no values for these.
	for _, text := range [...]string{"server closed idle connection", "client connection lost", "stream error"} {
		if strings.Contains(err.Error(), text) {
			return &temporary{err: err}
		}
	}
	return err
}

// status judges an answer that is no success.
func (c *Client) status(res *http.Response, authorized bool) error {
	text := res.Status
	if m := printable(res.Header.Get("X-Error-Message")); m != "" {
		text += " (" + m + ")"
	}
	switch res.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		return &fs.PathError{Op: "get", Path: res.Request.URL.Path, Err: fmt.Errorf("%s: %w", text, fs.ErrNotExist)}
	case http.StatusUnauthorized, http.StatusForbidden:
		switch {
		case authorized:
			text += ": the token has no access; perhaps the model's conditions are to be accepted first"
		case c.token != "" && c.hub != nil && sameOrigin(res.Request.URL, c.hub):
			text += ": the token is not sent over http"
		case c.hub != nil && sameOrigin(res.Request.URL, c.hub):
			text += ": give a token in HF_TOKEN if the name is right"
		}
		return &denied{errors.New(text)}
	case http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return &temporary{errors.New(text), retryAfter(res.Header.Get("Retry-After"), time.Now())}
	}
	return errors.New(text)
}

// denied is an answer that says that one may not.
type denied struct{ error }

// printable cuts a text of a server to something that can be shown.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), 200)]
}

// retryAfter reads seconds or a date; 0 if there is none.
func retryAfter(v string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(n, 0), 1_000_000)) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}
