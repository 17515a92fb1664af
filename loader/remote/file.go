package remote

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Sizes of requests, in bytes.
const (
	blockBytes = 1 << 20
	firstBytes = 64 << 10 // what is read of a file before anything is known of it
	smallBytes = 64 << 10 // neighbouring regions below this are read together
	wholeBytes = 8 << 20  // largest answer that is taken of a server that knows no ranges
)

// entry is a file of a directory. Its size is known.
type entry struct {
	name    string // slash-separated
	address string
	size    int64
	sha256  string // as the hub says; "" if it does not

	mu     sync.Mutex
	direct string            // where the address last led to
	stamps map[string]string // ETag by host
}

// file is an open entry. Reads at offsets are safe for concurrent use.
type file struct {
	*entry
	c *Client

	mu     sync.Mutex
	bounds []int64 // where regions begin, and the end
	at     int64   // of Read
}

func newFile(c *Client, e *entry) *file {
	f := &file{entry: e, c: c}
	f.bounds = []int64{0, min(firstBytes, e.size), e.size}
	return f
}

// Regions says where the parts of the file begin that are read one without the
// other, in rising order. No request goes beyond the region asked for, but for
// small neighbours.
func (f *file) Regions(starts []int64) {
	bounds := []int64{0}
	for i, s := range starts {
		end := f.size
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		last := bounds[len(bounds)-1]
		small := i > 0 && s-starts[i-1] < smallBytes && end-s < smallBytes
		if s > last && (!small || end-last > blockBytes) {
			bounds = append(bounds, s)
		}
	}
	f.mu.Lock()
	f.bounds = append(bounds, f.size)
	f.mu.Unlock()
	f.c.cache.forget(f) // blocks now begin elsewhere
}

// SHA256 returns the digest that the hub gives for the file, "" if it gives
// none.
func (f *file) SHA256() string { return f.sha256 }

// Stamp identifies the content as far as the server says: its digest, else its
// ETag.
func (f *file) Stamp() string {
	f.entry.mu.Lock()
	defer f.entry.mu.Unlock()
	if f.sha256 != "" {
		return f.sha256
	}
	hosts := make([]string, 0, len(f.stamps))
	for h := range f.stamps {
		hosts = append(hosts, h)
	}
	slices.Sort(hosts)
	for _, h := range hosts {
		if f.stamps[h] != "" {
			return f.stamps[h]
		}
	}
	return ""
}

// block returns the bounds of the block that holds byte off.
func (f *file) block(off int64) (start, end int64) {
	f.mu.Lock()
	i, found := slices.BinarySearch(f.bounds, off)
	if !found {
		i--
	}
	for f.bounds[i+1] == f.bounds[i] {
		i++ // an empty region
	}
	from, to := f.bounds[i], f.bounds[i+1]
	f.mu.Unlock()
	start = from + (off-from)/blockBytes*blockBytes
	return start, min(start+blockBytes, to)
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: fs.ErrInvalid}
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= f.size {
			return n, io.EOF
		}
		start, end := f.block(at)
		b, err := f.c.cache.get(blockKey{f, start}, func() ([]byte, error) { return f.c.fetch(f.entry, start, end) })
		if err != nil {
			return n, err
		}
		n += copy(p[n:], b[at-start:])
	}
	return n, nil
}

// Read implements io.Reader. It is not safe for concurrent use.
func (f *file) Read(p []byte) (int, error) {
	if f.at >= f.size && len(p) > 0 {
		return 0, io.EOF
	}
	n, err := f.ReadAt(p[:min(int64(len(p)), f.size-f.at)], f.at)
	f.at += int64(n)
	return n, err
}

func (f *file) Stat() (fs.FileInfo, error) { return info{f.name, f.size, false}, nil }

// Close lets go of what is kept of the file.
func (f *file) Close() error {
	f.c.cache.forget(f)
	return nil
}

// info describes a file or directory.
type info struct {
	name string
	size int64
	dir  bool
}

func (i info) Name() string               { return path.Base(i.name) }
func (i info) Size() int64                { return i.size }
func (i info) ModTime() time.Time         { return time.Time{} }
func (i info) IsDir() bool                { return i.dir }
func (i info) Sys() any                   { return nil }
func (i info) Type() fs.FileMode          { return i.Mode().Type() }
func (i info) Info() (fs.FileInfo, error) { return i, nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// fetch reads bytes [start, end) of an entry, going on where a connection broke.
func (c *Client) fetch(e *entry, start, end int64) ([]byte, error) {
	buf := make([]byte, end-start)
	got := int64(0)
	err := c.retry(func() error {
		address, direct := e.where()
		err := c.get(address, rangeHeader(start+got, end), func(r *http.Response) error {
			n, err := e.receive(r, buf[got:], start+got)
			got += n
			return err
		})
		var no *denied
		if direct && (errors.As(err, &no) || errors.Is(err, fs.ErrNotExist)) {
			e.redirected("") // signatures run out
			return &temporary{err: err}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return buf, nil
}

func rangeHeader(start, end int64) http.Header {
	return http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", start, end-1)}}
}

// where returns the address to ask, and whether a redirect led there before.
func (e *entry) where() (address string, direct bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.direct != "" {
		return e.direct, true
	}
	return e.address, false
}

func (e *entry) redirected(to string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.direct = to
}

// receive fills p, the bytes from off on, from an answer.
func (e *entry) receive(r *http.Response, p []byte, off int64) (int64, error) {
	if err := e.unchanged(r); err != nil {
		return 0, err
	}
	switch r.StatusCode {
	case http.StatusRequestedRangeNotSatisfiable:
		return 0, errChanged(fmt.Sprintf("it no longer has the byte %d", off))
	case http.StatusOK:
		switch {
		case r.ContentLength >= 0 && r.ContentLength != e.size:
			return 0, errChanged(fmt.Sprintf("it had %d bytes and has %d", e.size, r.ContentLength))
		case e.size > wholeBytes:
			return 0, fmt.Errorf("the server cannot send parts of a file, and this one has %d bytes: download it first", e.size)
		}
		if _, err := io.CopyN(io.Discard, r.Body, off); err != nil {
			return 0, &temporary{err: short(err)}
		}
	default:
		from, total, ok := contentRange(r.Header.Get("Content-Range"))
		switch {
		case !ok || from != off:
			return 0, fmt.Errorf("the server sent %q instead of the bytes from %d on", printable(r.Header.Get("Content-Range")), off)
		case total >= 0 && total != e.size:
			return 0, errChanged(fmt.Sprintf("it had %d bytes and has %d", e.size, total))
		}
	}
	if to := r.Request.URL.String(); r.Request.Response != nil { // the end of redirects
		e.redirected(to)
	}
	n, err := io.ReadFull(r.Body, p)
	if err != nil {
		err = &temporary{err: short(err)}
	}
	return int64(n), err
}

// short names what ends too early.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// contentRange reads "bytes 0-9/100"; total is -1 if it is not known.
func contentRange(s string) (from, total int64, ok bool) {
	var to int64
	if n, _ := fmt.Sscanf(s, "bytes %d-%d/%d", &from, &to, &total); n == 3 {
		return from, total, true
	}
	n, _ := fmt.Sscanf(s, "bytes %d-%d/*", &from, &to)
	return from, -1, n == 2 && strings.HasSuffix(s, "/*")
}

// errChanged is a file that is not the one it was.
type errChanged string

func (e errChanged) Error() string { return "the file has changed on the server: " + string(e) }

// unchanged compares the ETag with the first one of the same host.
func (e *entry) unchanged(r *http.Response) error {
	tag := r.Header.Get("ETag")
	if tag == "" || r.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return nil
	}
	host := r.Request.URL.Host
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stamps == nil {
		e.stamps = map[string]string{}
	}
	switch was := e.stamps[host]; was {
	case "":
		e.stamps[host] = tag
	case tag:
	default:
		return errChanged(fmt.Sprintf("its ETag was %s and is %s", printable(was), printable(tag)))
	}
	return nil
}
