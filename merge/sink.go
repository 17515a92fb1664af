package merge

import (
	"context"
	"encoding/json"

	"mergescope/loader"
)

// sink takes what a job writes; *output is the one on disk. A dry run has none.
type sink interface {
	// layer returns where the merge of a weight writes. It and the methods of
	// what it returns are called by many workers at once.
	layer(weight string) layerSink

	// copyRest writes the tensors that no weight's merge writes, at any time.
	copyRest(ctx context.Context) error

	// writeBeside writes the adapters beside the checkpoint. All layers are
	// committed.
	writeBeside(ctx context.Context) error

	// finish makes the output a checkpoint; report goes beside it.
	finish(ctx context.Context, report []byte) error

	// written opens what is there once copyRest is through. The caller closes it.
	written() (*loader.Checkpoint, error)

	// close lets go of the output. Without finish it stays resumable.
	close() error
}

// layerSink takes the tensors of one weight under the names they have in the
// input: the data, the scales and, with double quantization, their own scales
// and map, at last the quant state. A weight whose output form is plain floats
// is only its data, [out, in] in that form. Tensors that bitsandbytes never
// changes (quant_map, weight_format) are not written.
type layerSink interface {
	// done reports whether an earlier run of the same plan finished the weight,
	// and note returns what that run gave to commit.
	done() bool
	note() json.RawMessage

	// WriteAt stores p at byte off of a tensor's data. Every byte comes once, in
	// no set order. A quant state comes whole, whatever its length.
	WriteAt(tensor string, p []byte, off int64) error

	// revert forgets what was written, so that commit keeps the tensors of the
	// input.
	revert()

	// commit says that nothing more will be written.
	commit(ctx context.Context, note json.RawMessage) error
}

// diskSink is an output directory as a sink.
type diskSink struct{ *output }

func (d diskSink) layer(weight string) layerSink { return d.output.layer(weight) }
