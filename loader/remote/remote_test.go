package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"
)

const secret = "hf_SECRET"

// server is a hub with one repository, org/m at the commit "c0ffee".
type server struct {
	*httptest.Server
	files map[string][]byte

	mu       sync.Mutex
	asked    []string     // "path range" of every request for a file
	sent     atomic.Int64 // bytes of bodies asked for
	before   func(w http.ResponseWriter, r *http.Request) (done bool)
	noBlobs  bool
	noRanges bool
}

func newServer(t *testing.T, files map[string][]byte) *server {
	s := &server{files: files}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	if s.before != nil && s.before(w, r) {
		return
	}
	if r.URL.EscapedPath() == "/api/models/org/m/revision/main" || r.URL.EscapedPath() == "/api/models/org/m/revision/refs%2Fpr%2F1" {
		type sibling map[string]any
		var list []sibling
		for name, b := range s.files {
			sum := sha256.Sum256(b)
			e := sibling{"rfilename": name}
			if !s.noBlobs {
				e["size"], e["lfs"] = len(b), map[string]any{"sha256": hex.EncodeToString(sum[:])}
			}
			list = append(list, e)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"sha": "c0ffee", "siblings": list})
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/org/m/resolve/c0ffee/")
	if !ok {
		name, ok = strings.CutPrefix(r.URL.Path, "/plain/")
	}
	b, there := s.files[name]
	if !ok || !there {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	s.asked = append(s.asked, name+" "+r.Header.Get("Range"))
	s.mu.Unlock()
	if s.noRanges {
		r.Header.Del("Range")
	}
	sum := sha256.Sum256(b)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:4])+`"`)
	http.ServeContent(&counter{w, &s.sent}, r, "", time.Time{}, bytes.NewReader(b))
}

type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// client trusts the server; its waits take no time and are noted.
func (s *server) client(t *testing.T) (*Client, *[]time.Duration) {
	c := New(t.Context())
	var mu sync.Mutex
	waits := &[]time.Duration{}
	c.sleep = func(ctx context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		*waits = append(*waits, d)
		return ctx.Err()
	}
	u, err := ParseURL(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	c.Trust(u, secret)
	t.Cleanup(c.http.CloseIdleConnections)
	return c, waits
}

func (s *server) repo(t *testing.T) (*Client, *FS) {
	t.Helper()
	c, _ := s.client(t)
	d, commit, err := c.Repo("org/m", "")
	if err != nil || commit != "c0ffee" {
		t.Fatal(commit, err)
	}
	return c, d
}

// noise returns bytes that tell where they are.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(uint32(i) * 2654435761 >> 13)
	}
	return b
}

func open(t *testing.T, d fs.FS, name string) *file {
	t.Helper()
	f, err := d.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.(*file)
}

// TestFS holds both kinds of directories against the rules of io/fs.
func TestFS(t *testing.T) {
	files := map[string][]byte{"config.json": []byte("{}"), "big.bin": noise(200_000), "sub/x y%.json": []byte("[]"), "empty": {}}
	s := newServer(t, files)
	for _, noBlobs := range []bool{false, true} {
		s.noBlobs = noBlobs
		_, d := s.repo(t)
		if noBlobs {
			for name := range files { // sizes are found one by one
				if _, err := fs.Stat(d, name); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := fstest.TestFS(d, "config.json", "big.bin", "sub/x y%.json", "empty"); err != nil {
			t.Error(err)
		}
	}
	c, _ := s.client(t)
	u, _ := url.Parse(s.URL + "/plain")
	d, err := c.Dir(u, []string{"config.json", "missing.json", "big.bin"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := fs.ReadDir(d, ".")
	if err != nil || len(list) != 2 {
		t.Errorf("listed %v, %v", list, err)
	}
	if b, err := fs.ReadFile(d, "sub/x y%.json"); err != nil || string(b) != "[]" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := d.Open("nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, _, err := c.Repo("org/other", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, _, err := c.Repo("org/m", "refs/pr/1"); err != nil {
		t.Error(err)
	}
}

// TestRanges: a read fetches its region and no byte of another.
func TestRanges(t *testing.T) {
	want := noise(5 << 20)
	s := newServer(t, map[string][]byte{"w": want})
	_, d := s.repo(t)
	f := open(t, d, "w")
	// A header, a large tensor, two small ones side by side, a large one.
	f.Regions([]int64{1000, 3 << 20, 3<<20 + 100, 3<<20 + 300})
	p := make([]byte, 150)
	for _, off := range []int64{3<<20 + 50, 0, 850} {
		if n, err := f.ReadAt(p, off); n != len(p) || err != nil || !bytes.Equal(p, want[off:off+150]) {
			t.Fatal(off, n, err)
		}
	}
	if got, want := strings.Join(s.asked, ", "), "w bytes=3145728-3146027, w bytes=0-999"; got != want {
		t.Errorf("asked for %s, want %s", got, want)
	}
	if s.sent.Load() != 1300 {
		t.Errorf("%d bytes sent", s.sent.Load())
	}
	p = make([]byte, 2<<20)
	if _, err := f.ReadAt(p, 1<<20); err != nil || !bytes.Equal(p, want[1<<20:3<<20]) {
		t.Error(err)
	}
	if n, err := f.ReadAt(p, int64(len(want))-5); n != 5 || err != io.EOF {
		t.Error(n, err)
	}
	if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, want) {
		t.Error(err)
	}
}

// TestOnce: what many ask for at once is fetched once, and little is kept.
func TestOnce(t *testing.T) {
	want := noise(8 << 20)
	s := newServer(t, map[string][]byte{"w": want})
	c, d := s.repo(t)
	c.cache.limit = 2 << 20
	f := open(t, d, "w")
	f.Regions([]int64{0})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			p := make([]byte, 1000)
			if _, err := f.ReadAt(p, 77); err != nil || !bytes.Equal(p, want[77:1077]) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(s.asked) != 1 {
		t.Errorf("%d requests", len(s.asked))
	}
	for i := range 16 {
		wg.Go(func() {
			p := make([]byte, 512<<10)
			if _, err := f.ReadAt(p, int64(i)*512<<10); err != nil || !bytes.Equal(p, want[i*512<<10:(i+1)*512<<10]) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c.cache.used > 2<<20 || len(c.cache.blocks) > 2 {
		t.Errorf("%d bytes in %d blocks are kept", c.cache.used, len(c.cache.blocks))
	}
	f.Close()
	if c.cache.used != 0 {
		t.Errorf("%d bytes are kept of a closed file", c.cache.used)
	}
}

// TestRetries: what may pass is tried again after growing waits, or when the
// server says, and goes on where it broke off.
func TestRetries(t *testing.T) {
	want := noise(300_000)
	reset := func(w http.ResponseWriter) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}
	for name, tt := range map[string]struct {
		fail func(w http.ResponseWriter, n int)
		want []time.Duration // least waits
	}{
		"429": {func(w http.ResponseWriter, n int) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
		}, []time.Duration{7 * time.Second, 7 * time.Second, 7 * time.Second}},
		"503":   {func(w http.ResponseWriter, n int) { w.WriteHeader(503) }, []time.Duration{500e6, 1e9, 2e9}},
		"reset": {func(w http.ResponseWriter, n int) { reset(w) }, []time.Duration{500e6, 1e9, 2e9}},
		"short": {func(w http.ResponseWriter, n int) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-299999/300000", 65536+n*1000))
			w.Header().Set("Content-Length", fmt.Sprint(300_000-65536-n*1000))
			w.WriteHeader(206)
			_, _ = w.Write(want[65536+n*1000 : 65536+(n+1)*1000])
		}, []time.Duration{500e6, 1e9, 2e9}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, map[string][]byte{"w": want})
			failed := 0
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/resolve/") || failed == 3 {
					return false
				}
				failed++
				tt.fail(w, failed-1)
				return true
			}
			c, waits := s.client(t)
			d, _, err := c.Repo("org/m", "")
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, len(want)-65536)
			if _, err := open(t, d, "w").ReadAt(p, 65536); err != nil || !bytes.Equal(p, want[65536:]) {
				t.Fatal(err)
			}
			if name == "reset" && len(*waits) == 2 {
				return // net/http itself tried once more on a connection that was used before
			}
			if len(*waits) != 3 {
				t.Fatalf("waited %v", *waits)
			}
			for i, w := range *waits {
				if w < tt.want[i] || w > tt.want[i]*3/2 {
					t.Errorf("waited %v, want about %v", *waits, tt.want)
				}
			}
			if name == "short" && !strings.HasSuffix(s.asked[len(s.asked)-1], "bytes=68536-299999") {
				t.Errorf("did not go on where it broke off: %v", s.asked)
			}
		})
	}
}

// TestGivesUp: errors that stay say what to do and hold neither token nor the
// address of a redirect.
func TestGivesUp(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		tries  int
		want   string
	}{
		"401": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, 1, "the token has no access"},
		"403": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Error-Message", "gated repo")
			w.WriteHeader(403)
		}, 1, "gated repo"},
		"404": {http.NotFound, 1, "not exist"},
		"500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, maxTries, "tried 6 times"},
		"418": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) }, 1, "418"},
		"long": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		}, 1, "asks to wait 1h"},
		"loop": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"?Signature=topsecret", http.StatusFound)
		}, maxRedirects + 1, "more than 5 redirects"},
		"416": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(416) }, 1, "has changed"},
		"wrong": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-9/100")
			w.WriteHeader(206)
		}, 1, "instead of the bytes from 0 on"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, map[string][]byte{"w": noise(100)})
			_, d := s.repo(t)
			tries := 0
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				tries++
				tt.answer(w, r)
				return true
			}
			_, err := open(t, d, "w").ReadAt(make([]byte, 10), 0)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tries != tt.tries {
				t.Errorf("%d tries: %v", tries, err)
			}
			if strings.Contains(fmt.Sprint(err), "secret") || strings.Contains(fmt.Sprint(err), secret) {
				t.Errorf("a secret is in the error: %v", err)
			}
		})
	}
}

// TestToken: the token reaches the hub, over connections that cannot be listened
// to, and no other host, whatever redirects say.
func TestToken(t *testing.T) {
	want := noise(2 << 20)
	cdn := newServer(t, map[string][]byte{"w": want})
	var expired atomic.Bool
	cdn.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
			t.Errorf("the other host got %v", r.Header)
		}
		if expired.CompareAndSwap(true, false) {
			w.WriteHeader(403)
			return true
		}
		return false
	}
	s := newServer(t, map[string][]byte{"w": want})
	resolved := 0
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			t.Errorf("the hub got %v", r.Header)
		}
		if !strings.Contains(r.URL.Path, "/resolve/") {
			return false
		}
		resolved++
		// Another port is another host, and httptest knows no subdomains.
		http.Redirect(w, r, cdn.URL+"/plain/w?Signature=x", http.StatusFound)
		return true
	}
	_, d := s.repo(t)
	f := open(t, d, "w")
	p := make([]byte, 100)
	for i, off := range []int64{0, 1 << 19, 2<<20 - 100} {
		expired.Store(i == 2)
		if _, err := f.ReadAt(p, off); err != nil || !bytes.Equal(p, want[off:off+100]) {
			t.Fatal(err)
		}
	}
	if resolved != 2 { // at first, and when the signature had run out
		t.Errorf("the hub was asked %d times", resolved)
	}

	c := New(t.Context())
	for _, tt := range []struct {
		hub, address string
		sent         bool
	}{
		{"https://hub.example", "https://hub.example/x", true},
		{"https://hub.example", "https://HUB.example/x", true},
		{"https://hub.example", "http://hub.example/x", false},
		{"https://hub.example", "https://sub.hub.example/x", false},
		{"https://hub.example", "https://hub.example:444/x", false},
		{"http://hub.example", "http://hub.example/x", false},
		{"http://127.0.0.1:80", "http://127.0.0.1:80/x", true},
	} {
		u, err := ParseURL(tt.hub)
		if err != nil {
			t.Fatal(err)
		}
		c.Trust(u, secret)
		r, _ := http.NewRequest(http.MethodGet, tt.address, nil)
		c.authorize(r)
		if got := r.Header.Get("Authorization") != ""; got != tt.sent {
			t.Errorf("hub %s, request to %s: sent %t", tt.hub, tt.address, got)
		}
	}
	from, _ := http.NewRequest(http.MethodGet, "https://hub.example/x", nil)
	to, _ := http.NewRequest(http.MethodGet, "http://hub.example/x", nil)
	if err := checkRedirect(to, []*http.Request{from}); err == nil {
		t.Error("a redirect away from https is followed")
	}
	to, _ = http.NewRequest(http.MethodGet, "https://sub.hub.example/x", nil)
	to.Header.Set("Authorization", "Bearer "+secret)
	if err := checkRedirect(to, []*http.Request{from}); err != nil || to.Header.Get("Authorization") != "" {
		t.Errorf("a redirect takes the token to a subdomain: %v", err)
	}
}

// TestChanged: a file that is replaced meanwhile is an error, not a mixture.
func TestChanged(t *testing.T) {
	old := noise(2 << 20)
	for name, now := range map[string][]byte{"content": bytes.Repeat([]byte{1}, 2<<20), "longer": noise(3 << 20), "shorter": noise(1 << 20)} {
		s := newServer(t, map[string][]byte{"w": old})
		_, d := s.repo(t)
		f := open(t, d, "w")
		if _, err := f.ReadAt(make([]byte, 100), 0); err != nil {
			t.Fatal(err)
		}
		s.files["w"] = now
		_, err := f.ReadAt(make([]byte, 100), 3<<19)
		var changed errChanged
		if !errors.As(err, &changed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoRanges: of a server that sends whole files small ones are taken.
func TestNoRanges(t *testing.T) {
	s := newServer(t, map[string][]byte{"small": noise(100_000), "large": noise(wholeBytes + 1)})
	s.noRanges = true
	_, d := s.repo(t)
	p := make([]byte, 1000)
	if _, err := open(t, d, "small").ReadAt(p, 70_000); err != nil || !bytes.Equal(p, noise(100_000)[70_000:71_000]) {
		t.Error(err)
	}
	if _, err := open(t, d, "large").ReadAt(p, 0); err == nil || !strings.Contains(err.Error(), "cannot send parts") {
		t.Error(err)
	}
}

// TestCancel: a request ends with the client's context, and one that gets no
// data is given up and tried again.
func TestCancel(t *testing.T) {
	s := newServer(t, map[string][]byte{"w": noise(100)})
	release := make(chan struct{})
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/resolve/") {
			return false
		}
		w.Header().Set("Content-Range", "bytes 0-99/100")
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(206)
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return true
	}
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	c := New(ctx)
	t.Cleanup(c.http.CloseIdleConnections)
	u, _ := ParseURL(s.URL)
	c.Trust(u, "")
	d, _, err := c.Repo("org/m", "")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := open(t, d, "w").ReadAt(make([]byte, 10), 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	c, waits := s.client(t)
	c.stall = 20 * time.Millisecond
	d, _, err = c.Repo("org/m", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, d, "w").ReadAt(make([]byte, 10), 0); err == nil || !strings.Contains(err.Error(), "no data for 20ms (tried 6 times)") {
		t.Errorf("%v after %v", err, *waits)
	}
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://hub.example":      "https://hub.example",
		"https://hub.example/a/b/": "https://hub.example/a/b",
		"http://127.0.0.1:8080/":   "http://127.0.0.1:8080",
		"hub.example":              "", "ftp://hub.example": "", "https://": "", "file:///etc/passwd": "",
		"https://user:topsecret@hub.example": "", "https://hub.example/?sig=topsecret": "", "https://hub.example/#x": "",
		"https://hub.example/%zztopsecret": "",
	} {
		u, err := ParseURL(text)
		switch {
		case want == "" && err == nil, want != "" && (err != nil || u.String() != want):
			t.Errorf("%s: %v, %v", text, u, err)
		case err != nil && strings.Contains(err.Error(), "topsecret"):
			t.Errorf("%s: the error repeats it: %v", text, err)
		}
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("red \x1b[31m \u202e" + strings.Repeat("x", 300)); len(got) != 200 || strings.ContainsAny(got, "\x1b\u202e") {
		t.Errorf("%q", got)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-1": 0, "x": 0, "99999999999": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0,
	} {
		if got := retryAfter(v, now); got != want && (v != "99999999999" || got < maxWait) {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

// TestProxy: proxies are those of the environment.
func TestProxy(t *testing.T) {
	got := New(t.Context()).http.Transport.(*http.Transport).Proxy
	if reflect.ValueOf(got).Pointer() != reflect.ValueOf(http.ProxyFromEnvironment).Pointer() {
		t.Error("the transport does not ask the environment for a proxy")
	}
}

// FuzzContentRange: no text of a server makes it panic or accepts what is none.
func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/100", "bytes 0-9/*", "bytes */100", "bytes 9-0/-1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		from, total, ok := contentRange(s)
		if ok && !strings.HasPrefix(s, "bytes") {
			t.Errorf("%q: %d of %d", s, from, total)
		}
	})
}
