package merge

import (
	"context"

	"golang.org/x/sync/errgroup"

	"mergescope/loader"
)

// inputFiles are the files with tensors that the job reads.
func (j *Job) inputFiles() []*loader.File {
	files := append([]*loader.File{}, j.model.Files...)
	if j.against != nil {
		files = append(files, j.against.Files...)
	}
	for _, a := range j.used {
		files = append(files, a.File)
	}
	return files
}

// digestInputs identifies the files the job reads by their SHA-256, as many at
// once as there are workers: that of the hub, or of what they hold.
func (j *Job) digestInputs(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(j.workers)
	files := j.inputFiles()
	list := make([]FileDigest, len(files))
	for i, f := range files {
		if sum := f.Declared(); sum != "" {
			list[i] = FileDigest{Name: f.Name, SHA256: sum, Declared: true}
			continue
		}
		g.Go(func() error {
			sum, err := f.SHA256(ctx)
			list[i] = FileDigest{Name: f.Name, SHA256: sum}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.inputs = list
	return nil
}
