package main

import (
	"strings"
	"testing"

	"mergescope/merge"
)

func TestParseShard(t *testing.T) {
	for _, tt := range []struct {
		text, env string
		want      merge.Part
		fault     string
	}{
		{text: "1/4", want: merge.Part{Index: 1, Count: 4}},
		{text: "4/4", want: merge.Part{Index: 4, Count: 4}},
		{text: "0/4", fault: "there is no shard 0/4"},
		{text: "5/4", fault: "there is no shard 5/4"},
		{text: "2", fault: "lacks the number of shards"},
		{text: "a/4", fault: "invalid syntax"},
		{text: "1/x", fault: "no number of shards"},
		{text: "auto", fault: "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX"},
		{text: "auto", env: "SLURM_ARRAY_TASK_ID=0 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_COUNT=4", want: merge.Part{Index: 1, Count: 4}},
		{text: "auto", env: "SLURM_ARRAY_TASK_ID=4 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_COUNT=4", want: merge.Part{Index: 4, Count: 4}},
		{text: "auto", env: "SLURM_ARRAY_TASK_ID=20 SLURM_ARRAY_TASK_MIN=10 SLURM_ARRAY_TASK_COUNT=3 SLURM_ARRAY_TASK_STEP=5", want: merge.Part{Index: 3, Count: 3}},
		// One task started again: the scheduler's count is that of the new array.
		{text: "auto/4", env: "SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_MIN=2 SLURM_ARRAY_TASK_COUNT=1", want: merge.Part{Index: 3, Count: 4}},
		{text: "auto", env: "SLURM_ARRAY_TASK_ID=x", fault: `SLURM_ARRAY_TASK_ID is "x"`},
		{text: "auto", env: "SLURM_ARRAY_TASK_ID=1", fault: `SLURM_ARRAY_TASK_MIN is ""`},
		{text: "auto/4", env: "JOB_COMPLETION_INDEX=3", want: merge.Part{Index: 4, Count: 4}},
		{text: "auto/4", env: "JOB_COMPLETION_INDEX=4", fault: "there is no shard 5/4"},
		{text: "auto", env: "JOB_COMPLETION_INDEX=3", fault: "does not tell a pod the number"},
	} {
		getenv := func(name string) string {
			for _, e := range strings.Fields(tt.env) {
				if k, v, _ := strings.Cut(e, "="); k == name {
					return v
				}
			}
			return ""
		}
		got, err := parseShard(tt.text, getenv)
		switch {
		case tt.fault == "" && (err != nil || got != tt.want):
			t.Errorf("%s with %q: %v, %v, want %v", tt.text, tt.env, got, err, tt.want)
		case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)):
			t.Errorf("%s with %q: error %v, want %q", tt.text, tt.env, err, tt.fault)
		}
	}
}
