package loader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// Declared returns the SHA-256 that a hub gives for the file, "" if there is
// none.
func (f *File) Declared() string {
	if r, ok := f.r.(interface{ SHA256() string }); ok {
		return r.SHA256()
	}
	return ""
}

// SHA256 reads the whole file and returns its digest in hexadecimal. It stops
// with ctx's error when ctx ends.
func (f *File) SHA256(ctx context.Context) (string, error) {
	sum, n, err := Digest(ctx, io.NewSectionReader(f.r, 0, f.Size))
	if err == nil && n != f.Size {
		err = fmt.Errorf("file shrank since it was opened, it had %d bytes: %w", f.Size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return "", &FormatError{File: f.Name, Offset: n, Err: err}
	}
	return sum, nil
}

// Digest returns the SHA-256 of r in hexadecimal and how many bytes it read.
func Digest(ctx context.Context, r io.Reader) (sum string, n int64, err error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return "", n, err
		}
		m, err := r.Read(buf)
		h.Write(buf[:m])
		n += int64(m)
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), n, nil
		}
		if err != nil {
			return "", n, err
		}
	}
}
