package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mergescope/merge"
)

const shardHint = "write --shard 2/4 for the second of four processes, or --shard auto in a Slurm array, or --shard auto/4 in a Kubernetes indexed Job"

// parseShard reads the value of --shard: i/n, i from 1; "auto" or "auto/n" take
// i, and without n also the count, from what schedulers tell their tasks. With
// auto/n the tasks of a Slurm array count from 0, so that one of them can be
// started again alone.
func parseShard(text string, getenv func(string) string) (merge.Part, error) {
	first, of, counted := strings.Cut(text, "/")
	var part merge.Part
	var err error
	if counted {
		if part.Count, err = strconv.Atoi(of); err != nil {
			return part, usagef(shardHint, "--shard %s: %q is no number of shards", text, of)
		}
	}
	switch {
	case first == "auto":
		part, err = scheduled(part.Count, getenv)
	case !counted:
		err = errors.New("it lacks the number of shards")
	default:
		part.Index, err = strconv.Atoi(first)
	}
	if err != nil {
		return part, usagef(shardHint, "--shard %s: %w", text, err)
	}
	if part.Index < 1 || part.Index > part.Count {
		return part, usagef(shardHint, "--shard %s: there is no shard %s", text, part)
	}
	return part, nil
}

// scheduled finds out which task of a Slurm array or of an indexed Job this is.
// count is 0 if the scheduler is to say it.
func scheduled(count int, getenv func(string) string) (merge.Part, error) {
	number := func(name string) (int, error) {
		n, err := strconv.Atoi(getenv(name))
		if err != nil {
			return 0, fmt.Errorf("%s is %q, no number", name, getenv(name))
		}
		return n, nil
	}
	for _, name := range [...]string{"SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"} {
		if getenv(name) == "" {
			continue
		}
		id, err := number(name)
		switch {
		case err != nil || count > 0:
			return merge.Part{Index: id + 1, Count: count}, err
		case name != "SLURM_ARRAY_TASK_ID":
			return merge.Part{}, errors.New("give i/n: Kubernetes does not tell a pod the number of completions")
		}
		low, err := number("SLURM_ARRAY_TASK_MIN")
		if err != nil {
			return merge.Part{}, err
		}
		step := 1
		if getenv("SLURM_ARRAY_TASK_STEP") != "" {
			if step, err = number("SLURM_ARRAY_TASK_STEP"); err != nil || step < 1 {
				return merge.Part{}, fmt.Errorf("SLURM_ARRAY_TASK_STEP is %q", getenv("SLURM_ARRAY_TASK_STEP"))
			}
		}
		count, err = number("SLURM_ARRAY_TASK_COUNT")
		return merge.Part{Index: (id-low)/step + 1, Count: count}, err
	}
	return merge.Part{}, errors.New("neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX is set")
}

// runShards writes a part of the output, completes the output if the other parts
// are written, and returns the report of the whole; nil if it is not whole yet.
func (a *app) runShards(ctx context.Context, s *session, opt merge.Options, kind string) (*merge.Report, error) {
	part := opt.Part
	_, err := a.runJob(ctx, s, opt, kind)
	if err != nil && !errors.Is(err, merge.ErrPartWritten) {
		return nil, err
	}
	opt.Part, opt.Join, opt.Resume = merge.Part{}, part.Count, false
	report, err := a.runJob(ctx, s, opt, kind)
	if errors.Is(err, merge.ErrParts) {
		_, err := fmt.Fprintf(a.out, "shard %s is written; the process that writes the last one completes %s\n", part, opt.Out)
		return nil, err
	}
	return report, err
}
