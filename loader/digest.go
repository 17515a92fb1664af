package loader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"sort"
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
		return "", f.errorAt(n, err)
	}
	return sum, nil
}

// errorAt is err at a byte of the file, with the tensor whose data hold it.
func (f *File) errorAt(off int64, err error) error {
	i := sort.Search(len(f.Tensors), func(i int) bool { return f.Tensors[i].Offset+f.Tensors[i].Size > off })
	if i == len(f.Tensors) || off < f.Tensors[i].Offset {
		return &FormatError{File: f.Name, Offset: off, Err: err}
	}
	return f.Tensors[i].errorAt(off-f.Tensors[i].Offset, err)
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
