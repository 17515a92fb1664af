// Package tokenizer turns text into token ids as Hugging Face tokenizers does
// with the same tokenizer.json: byte-level BPE (GPT-2, Llama 3, Qwen), BPE with
// byte fallback (Llama 2, Mistral, Gemma) and Unigram.
//
// Components and fields that would change tokens and are not computed here are
// errors when the file is read (ErrUnsupported), so that ids are those of
// tokenizers or there are none. Truncation and padding of the file are not
// applied, as transformers does not apply them by default.
//
// # Stages
//
// A text is cut at added tokens that match it as it is; what lies between is
// normalized and cut at added tokens that match normalized text. The rest goes
// through the pre-tokenizer, which cuts it into words, and each word through
// the model. The post-processor puts bos and eos around the ids.
//
// Regular expressions are those of Oniguruma with Unicode 16. They are run by
// regexp2 after a check that they mean the same there.
package tokenizer
