package merge

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// output says what the job's output directory becomes.
func (j *Job) output() outputSpec {
	return outputSpec{
		dir: j.opt.Out, model: j.model, against: j.against, adapters: j.used, layers: j.layers, extra: j.extra, untied: j.untied,
		plan: j.digest(), quantize: j.plan.Quantize, part: j.opt.Part, join: j.opt.Join, resume: j.opt.Resume,
		progress: func(n int64) { j.bytes.Add(n) },
	}
}

// writeTo computes everything into j.out and completes it.
func (j *Job) writeTo(ctx context.Context) error {
	if err := j.fill(ctx); err != nil {
		return err
	}
	if j.opt.Part.on() {
		return j.out.finish(ctx, nil)
	}
	if err := j.out.writeBeside(ctx); err != nil {
		return err
	}
	if err := j.check(ctx); err != nil {
		return err
	}
	text, err := j.reportText()
	if err != nil {
		return err
	}
	return j.out.finish(ctx, text)
}

// fill writes all tensors: those that are merged, while those that are not are
// copied and the digests of the inputs are computed, which only the report needs.
func (j *Job) fill(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return j.compute(ctx) })
	g.Go(func() error { return j.out.copyRest(ctx) })
	if !j.opt.Part.on() {
		g.Go(func() error { return j.digestInputs(ctx) })
	}
	return g.Wait()
}

// check lets Options.Check look at what is written.
func (j *Job) check(ctx context.Context) error {
	if j.opt.Check == nil {
		return nil
	}
	c, err := j.out.written()
	if err != nil {
		return err
	}
	err = j.opt.Check(ctx, c)
	if e := c.Close(); err == nil {
		err = e
	}
	return err
}
