package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
)

// maxListing bounds the answer of a hub about a repository, in bytes.
const maxListing = 32 << 20

// FS is a directory on a server. It is safe for concurrent use.
type FS struct {
	c    *Client
	base *url.URL // of a plain directory; nil if the hub has listed all files

	mu      sync.Mutex
	entries map[string]*entry // nil for a name that is not there
}

// Dir returns the directory at a URL. HTTP knows no listings, so it seems to
// hold those of the given names that are there; others are found when they are
// opened.
func (c *Client) Dir(base *url.URL, names []string) (*FS, error) {
	d := &FS{c: c, base: base, entries: map[string]*entry{}}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			if _, err := d.find(name); !errors.Is(err, fs.ErrNotExist) {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Repo returns a model's repository on the hub, at the commit that the revision
// is now.
func (c *Client) Repo(name, revision string) (d *FS, commit string, err error) {
	if revision == "" {
		revision = "main"
	}
	api := c.hub.JoinPath("api", "models", name, "revision").String() + "/" + url.PathEscape(revision) + "?blobs=true"
	var repo struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
			Size *int64 `json:"size"`
			LFS  struct {
				SHA256 string `json:"sha256"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	var text []byte
	err = c.retry(func() error {
		return c.get(api, nil, func(r *http.Response) (err error) {
			if text, err = io.ReadAll(io.LimitReader(r.Body, maxListing+1)); err != nil {
				return &temporary{err: err}
			}
			return nil
		})
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", fmt.Errorf("the hub has no such repository or revision: %w", err)
	case err != nil:
		return nil, "", err
	case len(text) > maxListing:
		return nil, "", fmt.Errorf("the hub's list of files is longer than %d bytes", maxListing)
	}
	if err := json.Unmarshal(text, &repo); err != nil || repo.SHA == "" {
		return nil, "", errors.New("the answer of the hub is not that of a Hugging Face Hub")
	}
	d = &FS{c: c, entries: map[string]*entry{}}
	for _, s := range repo.Siblings {
		if !fs.ValidPath(s.Name) || s.Name == "." {
			continue
		}
		e := &entry{name: s.Name, address: below(c.hub.JoinPath(name, "resolve", repo.SHA), s.Name), sha256: s.LFS.SHA256, size: -1}
		if s.Size != nil && *s.Size >= 0 {
			e.size = *s.Size
		}
		d.entries[s.Name] = e
	}
	return d, repo.SHA, nil
}

// below returns the address of a slash-separated name under a URL.
func below(base *url.URL, name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return base.JoinPath(parts...).String()
}

// find returns the entry of a name, its size known.
func (d *FS) find(name string) (*entry, error) {
	d.mu.Lock()
	e, known := d.entries[name]
	measured := e != nil && e.size >= 0
	d.mu.Unlock()
	switch {
	case measured:
		return e, nil
	case known && e == nil, !known && d.base == nil:
		return nil, fs.ErrNotExist
	case e == nil:
		e = &entry{name: name, address: below(d.base, name), size: -1}
	}
	size, err := d.c.measure(e)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.entries[name] = nil
		return nil, err
	}
	if now := d.entries[name]; now != nil && now.size >= 0 {
		return now, nil // somebody was faster
	}
	e.size = size
	d.entries[name] = e
	return e, nil
}

// measure finds out how long a file is by asking for its first byte, which
// servers answer that do not answer HEAD.
func (c *Client) measure(e *entry) (size int64, err error) {
	size = -1
	err = c.retry(func() error {
		return c.get(e.address, rangeHeader(0, 1), func(r *http.Response) error {
			switch r.StatusCode {
			case http.StatusOK:
				size = r.ContentLength
			case http.StatusRequestedRangeNotSatisfiable:
				if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes */%d", &size); err != nil {
					size = -1
				}
			default:
				_, size, _ = contentRange(r.Header.Get("Content-Range"))
			}
			return e.unchanged(r)
		})
	})
	if err == nil && size < 0 {
		err = errors.New("the server does not say how long the file is")
	}
	return size, err
}

// Open implements fs.FS. Files are io.ReaderAt.
func (d *FS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if list := d.list(name); list != nil {
		return &dir{info{name, 0, true}, list}, nil
	}
	e, err := d.find(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return newFile(d.c, e), nil
}

// Stat implements fs.StatFS.
func (d *FS) Stat(name string) (fs.FileInfo, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	return f.Stat()
}

// list returns what a directory holds, nil if it is none.
func (d *FS) list(name string) []fs.DirEntry {
	prefix := name + "/"
	if name == "." {
		prefix = ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	found := map[string]info{}
	for n, e := range d.entries {
		rest, ok := strings.CutPrefix(n, prefix)
		if !ok || e == nil {
			continue
		}
		first, _, below := strings.Cut(rest, "/")
		size := max(e.size, 0)
		if below {
			size = 0
		}
		found[first] = info{path.Join(name, first), size, below}
	}
	if len(found) == 0 && name != "." {
		return nil
	}
	list := []fs.DirEntry{}
	for _, i := range found {
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list
}

// dir is an open directory.
type dir struct {
	info
	left []fs.DirEntry
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *dir) Close() error               { return nil }

func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

// ReadDir implements fs.ReadDirFile.
func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	take := len(d.left)
	if n > 0 {
		if take == 0 {
			return nil, io.EOF
		}
		take = min(n, take)
	}
	list := d.left[:take]
	d.left = d.left[take:]
	return list, nil
}
