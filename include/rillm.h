// rillm: language models on plain CPUs. Made from src/capi by tools/capi/header.sh.
//
// Functions return a status and, if asked, an error's text; results go through pointers, which
// must not be null unless it says so. Options and facts begin with their own size, so that
// programs and libraries of different versions understand each other: rillm_*_options_init
// sets it; of facts the caller does.
//
// Where the size of files is limited (RLIMIT_FSIZE), a program that wants an error for a snapshot that
// is too large, and not the signal's end, ignores SIGXFSZ.
//
// A thread that calls needs 512 KB of stack, which is more than some systems give to threads that
// ask for none (musl 128 KB).

#ifndef RILLM_H
#define RILLM_H

#include <stddef.h>
#include <stdint.h>

// Version of this interface. Functions and fields at the ends of structs may be added under the
// same number, nothing else changes under it.
#define RILLM_ABI 1

// Stands where there is no token.
#define RILLM_NO_TOKEN UINT32_MAX

// Bytes of an error's text, the NUL included.
#define RILLM_ERROR_TEXT_LEN 1020

// The library keeps a copy of the bytes.
#define RILLM_MEMORY_COPY 0

// The library reads the caller's bytes where they lie: they must stay, unchanged, until the
// model and everything made from it is freed.
#define RILLM_MEMORY_BORROW 1

// Tokenizing: put the tokens around the text that the model expects.
#define RILLM_ADD_SPECIAL 1

// Tokenizing: names of control tokens in the text become those tokens. Never for what users
// typed.
#define RILLM_PARSE_SPECIAL 2

// Detokenizing: leave control tokens out.
#define RILLM_SKIP_SPECIAL 1

// Detokenizing: the tokens go on with a text, as generated ones do, so that no space at their
// beginning is taken away.
#define RILLM_CONTINUED 2

// How a call ended. Later versions may add values: what is not RILLM_STATUS_OK is an error.
enum rillm_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done.
  RILLM_STATUS_OK = 0,
  // A null pointer, a size or flag that is not known, text that is not UTF-8.
  RILLM_STATUS_INVALID_ARGUMENT = 1,
  // A file could not be read or written.
  RILLM_STATUS_IO = 2,
  // A model's file or a snapshot is damaged or not what it claims to be.
  RILLM_STATUS_FORMAT = 3,
  // Well formed, but nothing this version can run.
  RILLM_STATUS_UNSUPPORTED = 4,
  // Tokens, positions or sizes that the model or the session does not take.
  RILLM_STATUS_INPUT = 5,
  // The sequence cannot be changed so: no such sequence, no checkpoint, nothing encoded.
  RILLM_STATUS_STATE = 6,
  // The sequence has as many positions as its session was made for.
  RILLM_STATUS_CONTEXT_FULL = 7,
  // The system refused memory.
  RILLM_STATUS_OUT_OF_MEMORY = 8,
  // rillm_session_cancel or rillm_writer_cancel ended the call.
  RILLM_STATUS_CANCELLED = 9,
  // The buffer is too small; its count says what is needed.
  RILLM_STATUS_BUFFER_TOO_SMALL = 10,
  // Another call is using this handle, perhaps the one whose callback this is.
  RILLM_STATUS_BUSY = 11,
  // A snapshot of another model, or of another version of the format.
  RILLM_STATUS_MISMATCH = 12,
  // A defect of the library. The handles of the call only take being freed.
  RILLM_STATUS_PANICKED = 13,
  // The model's arithmetic gave NaN or an infinity; the text names the first step at fault.
  RILLM_STATUS_NOT_FINITE = 14,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rillm_status rillm_status;
#else
typedef int32_t rillm_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why generation ended.
enum rillm_stop
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // The model wrote an end-of-generation token.
  RILLM_STOP_END = 0,
  // As many tokens as asked for.
  RILLM_STOP_LENGTH = 1,
  // The context is full.
  RILLM_STOP_CONTEXT = 2,
  // The callback said so.
  RILLM_STOP_CALLER = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rillm_stop rillm_stop;
#else
typedef int32_t rillm_stop;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// When beam search has seen enough.
enum rillm_early_stopping
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // When no running beam, as long as it is now, beats the worst finished text: transformers'
  // False.
  RILLM_EARLY_STOPPING_LIKELY = 0,
  // As soon as there are as many finished texts as beams: transformers' True.
  RILLM_EARLY_STOPPING_ALWAYS = 1,
  // When no running beam can beat the worst finished text at any length: transformers' "never".
  RILLM_EARLY_STOPPING_NEVER = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum rillm_early_stopping rillm_early_stopping;
#else
typedef int32_t rillm_early_stopping;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Bytes that the library made.
typedef struct rillm_bytes rillm_bytes;

// Turns tokens into text as they come, never half a character.
typedef struct rillm_decoder rillm_decoder;

// A model: immutable, and shared by the sessions, decoders and samplers made from it, which
// keep what they need of it: it may be freed before them.
typedef struct rillm_model rillm_model;

// Chooses tokens, remembering what was chosen.
typedef struct rillm_sampler rillm_sampler;

// A model's working memory: sequences, numbered from 0, and the outputs of the last feed.
typedef struct rillm_session rillm_session;

// Translates or summarizes: a model that reads one text and writes another, with a session of its
// own.
typedef struct rillm_writer rillm_writer;

// How a model is opened. Zeros and nulls are the defaults.
typedef struct rillm_model_options {
  // sizeof(rillm_model_options).
  size_t size;
  // Workers; 0 for one per physical core, as far as sharing the work pays.
  size_t threads;
  // Instruction set: "scalar", "avx2" ...; null for the best that this CPU has.
  const char *isa;
  // How F16 and BF16 weights are multiplied: "reference", or "native" for the CPU's own 16-bit
  // arithmetic, which is faster where it has some; null for "reference".
  const char *precision;
} rillm_model_options;

// What went wrong, in one line. Functions that can fail take a pointer to one, which the caller
// owns, and fill it, also when all is well; a null pointer asks for the status alone.
//
// It belongs to the call, neither to a thread nor to a handle: there is none yet when opening
// fails, and where threads are lent out (as goroutines are) the next call may come from another.
typedef struct rillm_error {
  // The status that the function returned.
  rillm_status status;
  // UTF-8 with a NUL at the end; empty if all is well. Longer texts are cut.
  char text[RILLM_ERROR_TEXT_LEN];
} rillm_error;

// What a model is. 0 stands where it does not say.
typedef struct rillm_model_facts {
  // sizeof(rillm_model_facts).
  size_t size;
  // Tokens are below this; so many logits has a row.
  uint64_t vocabulary;
  // Positions it was trained for.
  uint64_t context;
  // Positions are below this, however long the session; 0 for any.
  uint64_t positions;
  // Width of its embeddings.
  uint64_t embedding;
  // Numbers in its tensors.
  uint64_t parameters;
  // Bytes of its tensors, in the file.
  uint64_t weights;
  // Workers.
  uint64_t threads;
  // 1 if it predicts tokens: rillm_session_feed, rillm_generate.
  uint32_t decodes;
  // 1 if it encodes whole texts: rillm_session_encode_rows.
  uint32_t encodes;
} rillm_model_facts;

// How much a session can hold. Null options are what rillm_session_options_init writes.
typedef struct rillm_session_options {
  // sizeof(rillm_session_options).
  size_t size;
  // Positions per sequence.
  size_t context;
  // Sequences: numbers below this name one.
  size_t sequences;
  // Rows that are computed at a time; longer feeds are cut.
  size_t batch;
  // Rows of one encoder input.
  size_t source;
  // Checkpoints of recurrent state.
  size_t checkpoints;
  // The type of the KV cache: "f32", "f16" or "q8_0"; null for "f32".
  const char *kv_type;
  // Bytes that the model's weights, state and activations may take together; 0: weights are mapped.
  // The first session that says so decides what of the weights stays in memory and what is read
  // when it is needed; results are the same bits. If that cannot be, the error says
  // RILLM_STATUS_OUT_OF_MEMORY and names the least number of bytes that works. A file that is cut
  // short or written to later is RILLM_STATUS_IO.
  uint64_t memory;
} rillm_session_options;

// Bytes that a session takes, by the arithmetic that reserves them.
typedef struct rillm_memory {
  // sizeof(rillm_memory).
  size_t size;
  // Weights, mapped from the file: shared by all sessions and processes.
  uint64_t weights;
  // Activations.
  uint64_t arena;
  // State, reserved whole and touched as sequences grow.
  uint64_t state;
  // State that one sequence holds whatever its length.
  uint64_t state_fixed;
  // State for each 1,024 positions of a sequence.
  uint64_t state_per_1k;
  // Tensors of which no file says what they are like, where they were planned without weights: with
  // any, what stands above is an estimate.
  uint64_t presumed;
  // Vectors of weights, which are kept as floats beside the file.
  uint64_t vectors;
} rillm_memory;

// Facts of a model's vocabulary.
typedef struct rillm_vocabulary_facts {
  // sizeof(rillm_vocabulary_facts).
  size_t size;
  // Tokens: one more than the largest id.
  uint64_t tokens;
  // Token that begins a text, or RILLM_NO_TOKEN.
  uint32_t bos;
  // Token that ends a text, or RILLM_NO_TOKEN.
  uint32_t eos;
} rillm_vocabulary_facts;

// Facts of one token.
typedef struct rillm_token_facts {
  // sizeof(rillm_token_facts).
  size_t size;
  // The bytes it stands for, perhaps not whole characters; they live as long as the model.
  const char *bytes;
  // How many.
  size_t len;
  // 1 if it is a control token.
  uint32_t is_control;
  // 1 if it is an end-of-generation token: of a text, a turn or a message.
  uint32_t is_end;
} rillm_token_facts;

// One token on its way in.
typedef struct rillm_row {
  // Position; padding is left out, and may leave gaps here.
  uint64_t position;
  // Token.
  uint32_t token;
  // Sequence that it extends.
  uint32_t sequence;
  // Token type (BERT's segment); 0 for models without.
  uint32_t token_type;
  // Not 0 if its outputs are asked for.
  uint32_t emit;
} rillm_row;

// One output. Everything it points to lives until the session is next fed, encodes, generates
// or is freed.
typedef struct rillm_output {
  // "logits", "last_hidden_state" ... as transformers names them.
  const char *name;
  // The values.
  const float *values;
  // How many.
  size_t count;
  // Index of its row in the feed; of an output per sequence: of the sequence's first row.
  size_t row;
  // 1 if it belongs to a sequence and not to a row.
  uint32_t of_sequence;
} rillm_output;

// How tokens are chosen; the stages and their ranges are those of `rillm run`. Null options are
// what rillm_sampler_options_init writes. A temperature of 0 takes the most likely token.
typedef struct rillm_sampler_options {
  // sizeof(rillm_sampler_options).
  size_t size;
  uint64_t seed;
  size_t min_keep;
  size_t top_k;
  size_t penalty_last_n;
  float temperature;
  float dynamic_temperature;
  float dynamic_temperature_exponent;
  float top_p;
  float min_p;
  float typical_p;
  float top_n_sigma;
  float xtc_probability;
  float xtc_threshold;
  float repeat_penalty;
  float presence_penalty;
  float frequency_penalty;
  // Mirostat 2's surprise; 0 for no mirostat.
  float mirostat_tau;
  // How fast it is approached.
  float mirostat_eta;
} rillm_sampler_options;

// Takes a token and the text that it completes: UTF-8, perhaps none, with a NUL after `len`
// bytes, there until the callback returns. Once all tokens are out it may be called with
// RILLM_NO_TOKEN and what is left of an unfinished character. Not 0 ends the generation.
//
// It runs in the thread that called. The session and the sampler are busy meanwhile, but for
// rillm_session_cancel; other sessions may be used. Nothing may be thrown through it.
typedef int (*rillm_token_callback)(void *user, uint32_t token, const char *text, size_t len);

// What a generation did.
typedef struct rillm_generation {
  // sizeof(rillm_generation).
  size_t size;
  // Tokens of the prompt.
  uint64_t prompt;
  // Tokens written.
  uint64_t tokens;
  // Seconds until the first token was chosen.
  double prompt_seconds;
  // Seconds after it.
  double seconds;
  // Why it ended: a rillm_stop.
  int32_t stop;
  // 0.
  uint32_t reserved;
} rillm_generation;

// How texts are written. Names and meanings are those of transformers' GenerationConfig; 0 is no
// limit of a length, and RILLM_NO_TOKEN no token.
typedef struct rillm_generation_options {
  // sizeof(rillm_generation_options).
  size_t size;
  // Of tokens that are drawn.
  uint64_t seed;
  size_t num_beams;
  size_t num_return_sequences;
  size_t max_length;
  size_t max_new_tokens;
  size_t min_length;
  size_t min_new_tokens;
  size_t no_repeat_ngram_size;
  size_t encoder_no_repeat_ngram_size;
  size_t top_k;
  const uint32_t *suppress_tokens;
  size_t suppress_tokens_len;
  const uint32_t *begin_suppress_tokens;
  size_t begin_suppress_tokens_len;
  const uint32_t *forced_eos_token_ids;
  size_t forced_eos_token_ids_len;
  // Sequences that are not written, each with RILLM_NO_TOKEN behind it.
  const uint32_t *bad_words_ids;
  // Tokens there, those behind each sequence included.
  size_t bad_words_ids_len;
  float length_penalty;
  float temperature;
  float top_p;
  float min_p;
  float typical_p;
  float repetition_penalty;
  float encoder_repetition_penalty;
  uint32_t decoder_start_token_id;
  uint32_t forced_bos_token_id;
  // 1 if tokens are drawn, 0 if the most likely ones are taken.
  uint32_t do_sample;
  // When beam search ends: a rillm_early_stopping.
  int32_t early_stopping;
} rillm_generation_options;

// A text that was written for another.
typedef struct rillm_written {
  // sizeof(rillm_written).
  size_t size;
  // UTF-8 with a NUL after `len` bytes, there until the writer writes again or is freed.
  const char *text;
  // Bytes.
  size_t len;
  // Tokens of the text.
  uint64_t tokens;
  // Tokens of the source, as the model took it.
  uint64_t source_tokens;
  // Its score, if beams found it; else 0.
  float score;
  // 1 if the source was longer than the model takes, and its beginning was read.
  uint32_t truncated;
} rillm_written;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// RILLM_ABI of the library; a program compares it with that of its header.
// Threads: any.
uint32_t rillm_abi(void);

// Version of the library, such as "0.1.0".
// Threads: any.
const char *rillm_version(void);

// Writes the defaults into options of the size given.
// Threads: any.
rillm_status rillm_model_options_init(struct rillm_model_options *options, size_t size);

// Opens a GGUF file (of a split one: the first) or a Hugging Face folder. The file is mapped and
// must stay as it is while in use. Null options are the defaults; after an error `*model` is
// null.
// Threads: any.
rillm_status rillm_model_open(const char *path,
                              const struct rillm_model_options *options,
                              struct rillm_model **model,
                              struct rillm_error *error);

// Opens a GGUF file whose bytes are at hand. `memory` is RILLM_MEMORY_COPY or
// RILLM_MEMORY_BORROW and says whose they are afterwards. Any alignment will do.
// Threads: any.
rillm_status rillm_model_open_memory(const uint8_t *data,
                                     size_t len,
                                     uint32_t memory,
                                     const struct rillm_model_options *options,
                                     struct rillm_model **model,
                                     struct rillm_error *error);

// Frees a model; null is allowed. What was made from it lives on.
// Threads: any, once.
void rillm_model_free(struct rillm_model *model);

// What a model is.
// Threads: any.
rillm_status rillm_model_describe(const struct rillm_model *model,
                                  struct rillm_model_facts *facts,
                                  struct rillm_error *error);

// Architecture as the files name it, such as "llama". It lives as long as the handle.
// Threads: any.
rillm_status rillm_model_architecture(const struct rillm_model *model,
                                      const char **name,
                                      struct rillm_error *error);

// Architecture as people name it, such as "Qwen 3". It lives as long as the handle.
// Threads: any.
rillm_status rillm_model_title(const struct rillm_model *model,
                               const char **title,
                               struct rillm_error *error);

// The bytes that a session with these options would take, without reserving them. Null options
// are the defaults.
// Threads: any.
rillm_status rillm_memory_plan(const struct rillm_model *model,
                               const struct rillm_session_options *options,
                               struct rillm_memory *memory,
                               struct rillm_error *error);

// The same of a model whose weights need not be there: `path` is that of a GGUF file, of which the
// header is enough (of a split one, its first part's), of a Hugging Face folder, of which
// config.json is, or of that. Weights are what graphs use of them; of those in FP8 or MXFP4, which are
// converted before they run, what they become.
// Threads: any.
rillm_status rillm_plan(const char *path,
                        const struct rillm_model_options *options,
                        const struct rillm_session_options *session,
                        struct rillm_memory *memory,
                        struct rillm_error *error);

// The longest context that fits into `bytes` of memory together with all else that a session with these
// options takes, the context they name left out of account: `*positions` of each sequence, at most those
// that the model was trained for; of a model that only reads, of a text. 0: none fits. UINT64_MAX: any
// does, as what is kept does not grow. What `path` may be stands at rillm_plan.
// Threads: any.
rillm_status rillm_plan_longest(const char *path,
                                const struct rillm_model_options *options,
                                const struct rillm_session_options *session,
                                uint64_t bytes,
                                uint64_t *positions,
                                struct rillm_error *error);

// Facts of the vocabulary. RILLM_STATUS_UNSUPPORTED if the model has none, or one that cannot
// be used; token ids can be fed all the same.
// Threads: any.
rillm_status rillm_vocabulary_describe(const struct rillm_model *model,
                                       struct rillm_vocabulary_facts *facts,
                                       struct rillm_error *error);

// Facts of one token.
// Threads: any.
rillm_status rillm_token_describe(const struct rillm_model *model,
                                  uint32_t token,
                                  struct rillm_token_facts *facts,
                                  struct rillm_error *error);

// The tokens of `len` bytes of UTF-8. `*count` learns how many there are; if `capacity` is less,
// nothing is written and the status is RILLM_STATUS_BUFFER_TOO_SMALL. `flags`: RILLM_ADD_SPECIAL,
// RILLM_PARSE_SPECIAL.
// Threads: any.
rillm_status rillm_tokenize(const struct rillm_model *model,
                            const char *input,
                            size_t len,
                            uint32_t flags,
                            uint32_t *tokens,
                            size_t capacity,
                            size_t *count,
                            struct rillm_error *error);

// The text of whole tokens, as UTF-8 without a NUL; bytes that are none become U+FFFD. `*len`
// and `capacity` as in rillm_tokenize, in bytes. `flags`: RILLM_SKIP_SPECIAL, RILLM_CONTINUED.
// Threads: any.
rillm_status rillm_detokenize(const struct rillm_model *model,
                              const uint32_t *tokens,
                              size_t count,
                              uint32_t flags,
                              char *output,
                              size_t capacity,
                              size_t *len,
                              struct rillm_error *error);

// A decoder for tokens that come one by one. `flags` as in rillm_detokenize; after an error
// `*decoder` is null.
// Threads: any.
rillm_status rillm_decoder_new(const struct rillm_model *model,
                               uint32_t flags,
                               struct rillm_decoder **decoder,
                               struct rillm_error *error);

// The text that a token completes, perhaps none, with a NUL after it. It lives until the next
// call with this decoder.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_decoder_push(const struct rillm_decoder *decoder,
                                uint32_t token,
                                const char **output,
                                size_t *len,
                                struct rillm_error *error);

// Ends the text: what is left of an unfinished character, as U+FFFD. As rillm_decoder_push
// otherwise; the decoder can be used again.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_decoder_finish(const struct rillm_decoder *decoder,
                                  const char **output,
                                  size_t *len,
                                  struct rillm_error *error);

// Frees a decoder; null is allowed, and one that a call is using stays.
// Threads: any, once.
void rillm_decoder_free(struct rillm_decoder *decoder);

// Writes the defaults into options of the size given.
// Threads: any.
rillm_status rillm_session_options_init(struct rillm_session_options *options, size_t size);

// Reserves a session's memory. Null options are the defaults; after an error `*session` is
// null. The model may be freed before its sessions.
// Threads: any. Sessions of one model compute in turn.
rillm_status rillm_session_new(const struct rillm_model *model,
                               const struct rillm_session_options *options,
                               struct rillm_session **session,
                               struct rillm_error *error);

// Frees a session; null is allowed, and one that a call is using stays.
// Threads: any, once.
void rillm_session_free(struct rillm_session *session);

// Ends the call that feeds, encodes or generates, soon, with RILLM_STATUS_CANCELLED. If none is
// running, the next one ends so.
// Threads: any, also while another thread is in a call, and from callbacks.
rillm_status rillm_session_cancel(const struct rillm_session *session, struct rillm_error *error);

// Rows taken since the session was made, for whoever shows progress.
// Threads: any, also while another thread is in a call.
rillm_status rillm_session_progress(const struct rillm_session *session,
                                    uint64_t *rows,
                                    struct rillm_error *error);

// Positions that a sequence holds.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_length(const struct rillm_session *session,
                                  uint32_t sequence,
                                  size_t *length,
                                  struct rillm_error *error);

// Extends a sequence by tokens and keeps the last one's outputs (rillm_session_logits).
// `positions` are theirs, one for each; null goes on counting from the sequence's length.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_feed(const struct rillm_session *session,
                                uint32_t sequence,
                                const uint32_t *tokens,
                                const uint64_t *positions,
                                size_t count,
                                struct rillm_error *error);

// Extends sequences by rows and keeps the outputs of those that ask for them: as many floats
// each as the model has tokens, so ask for no more than are wanted.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_feed_rows(const struct rillm_session *session,
                                     const struct rillm_row *rows,
                                     size_t count,
                                     struct rillm_error *error);

// Encodes whole inputs: all rows of a sequence stand together. For an encoder-decoder model this
// begins the sequences anew.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_encode_rows(const struct rillm_session *session,
                                       const struct rillm_row *rows,
                                       size_t count,
                                       struct rillm_error *error);

// How many outputs the last feed or encoding left.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_output_count(const struct rillm_session *session,
                                        size_t *count,
                                        struct rillm_error *error);

// Output `index` of the last feed or encoding.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_output(const struct rillm_session *session,
                                  size_t index,
                                  struct rillm_output *output,
                                  struct rillm_error *error);

// The last row's logits of the last feed, one float for each token. They live until the session
// is next fed, encodes, generates or is freed.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_logits(const struct rillm_session *session,
                                  const float **logits,
                                  size_t *count,
                                  struct rillm_error *error);

// Forgets a sequence.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_reset(const struct rillm_session *session,
                                 uint32_t sequence,
                                 struct rillm_error *error);

// Makes sequence `to` a copy of `from`, sharing its KV cache until one of them grows.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_fork(const struct rillm_session *session,
                                uint32_t from,
                                uint32_t to,
                                struct rillm_error *error);

// Shortens a sequence to `length` positions. A recurrent model goes back only to a checkpoint
// or to 0.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_rewind(const struct rillm_session *session,
                                  uint32_t sequence,
                                  size_t length,
                                  struct rillm_error *error);

// Saves a recurrent model's state, so that the sequence can be rewound to its present length;
// others need none.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_checkpoint(const struct rillm_session *session,
                                      uint32_t sequence,
                                      struct rillm_error *error);

// Frees a sequence's checkpoints.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_forget_checkpoints(const struct rillm_session *session,
                                              uint32_t sequence,
                                              struct rillm_error *error);

// Writes a sequence to memory, with `count` tokens that the caller wants back with it. Any
// session of the same model can bring it back, on any machine; of a model that differs in a single
// byte of its weights none does. The first snapshot of a model, or the first that is brought back,
// reads all weights for that, which takes seconds for some GiB. After an error `*bytes` is null.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_snapshot(const struct rillm_session *session,
                                    uint32_t sequence,
                                    const uint32_t *tokens,
                                    size_t count,
                                    struct rillm_bytes **bytes,
                                    struct rillm_error *error);

// As rillm_session_snapshot, to a file; one that is there is replaced once the new one is whole.
// Links are followed and stay, and devices and pipes are written to: nothing but a regular file is
// ever replaced. The file notes lengths and times of the model's files: as long as none of them
// changes, rillm_session_restore_file does not read all weights.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_snapshot_file(const struct rillm_session *session,
                                         uint32_t sequence,
                                         const uint32_t *tokens,
                                         size_t count,
                                         const char *path,
                                         struct rillm_error *error);

// Makes a sequence what a snapshot holds. `*tokens` and `*count` learn which tokens were noted
// in it, until the session next restores or is freed; both may be null. A snapshot of another
// model, or of one with other weights, is refused with RILLM_STATUS_MISMATCH. Once the bytes were
// seen to be of this model, the sequence is empty after an error.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_restore(const struct rillm_session *session,
                                   uint32_t sequence,
                                   const uint8_t *data,
                                   size_t len,
                                   const uint32_t **tokens,
                                   size_t *count,
                                   struct rillm_error *error);

// As rillm_session_restore, from a file.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_session_restore_file(const struct rillm_session *session,
                                        uint32_t sequence,
                                        const char *path,
                                        const uint32_t **tokens,
                                        size_t *count,
                                        struct rillm_error *error);

// Where bytes lie and how many they are, until they are freed.
// Threads: any.
rillm_status rillm_bytes_data(const struct rillm_bytes *bytes,
                              const uint8_t **data,
                              size_t *len,
                              struct rillm_error *error);

// Frees bytes; null is allowed.
// Threads: any, once.
void rillm_bytes_free(struct rillm_bytes *bytes);

// Writes the defaults into options of the size given.
// Threads: any.
rillm_status rillm_sampler_options_init(struct rillm_sampler_options *options, size_t size);

// A sampler over a model's tokens. Null options are the defaults; after an error `*sampler` is
// null.
// Threads: any.
rillm_status rillm_sampler_new(const struct rillm_model *model,
                               const struct rillm_sampler_options *options,
                               struct rillm_sampler **sampler,
                               struct rillm_error *error);

// Frees a sampler; null is allowed, and one that a call is using stays.
// Threads: any, once.
void rillm_sampler_free(struct rillm_sampler *sampler);

// Chooses a token from logits. What was chosen is remembered only by rillm_sampler_accept.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_sampler_sample(const struct rillm_sampler *sampler,
                                  const float *logits,
                                  size_t count,
                                  uint32_t *token,
                                  struct rillm_error *error);

// Notes a token, of the prompt or chosen, for penalties.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_sampler_accept(const struct rillm_sampler *sampler,
                                  uint32_t token,
                                  struct rillm_error *error);

// Forgets the tokens noted.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_sampler_reset(const struct rillm_sampler *sampler, struct rillm_error *error);

// Feeds the prompt to sequence 0 and hands each new token to the callback, until an
// end-of-generation token, `limit` tokens (0: no limit, but of an encoder-decoder model as many as its
// files say), a full context or its word. An encoder-decoder model encodes the prompt and decodes from
// its start token; others continue what the sequence holds. What the model's files say of scores
// (generation_config.json: suppress_tokens, no_repeat_ngram_size, repetition_penalty and the like)
// holds before the sampler sees them, as in `rillm run`, and looks back at the prompt and what was
// written. What they say of the choice (do_sample, temperature, top_k) does not: that is the sampler's;
// nor do beams, which are a writer's. Afterwards the last token handed out is not in the sequence yet,
// unless an end-of-generation token followed it.
// `callback` and `generation` may be null. A model without a usable vocabulary gives no text and
// knows no end-of-generation tokens.
// Threads: one at a time for session and sampler, others get RILLM_STATUS_BUSY.
rillm_status rillm_generate(const struct rillm_session *session,
                            const struct rillm_sampler *sampler,
                            const uint32_t *prompt,
                            size_t count,
                            size_t limit,
                            rillm_token_callback callback,
                            void *user,
                            struct rillm_generation *generation,
                            struct rillm_error *error);

// A writer that translates, from one language to another, each as the model calls it or by its
// code ("de", "de_DE", "deu_Latn"); null for what the model takes by itself. It writes as the model's
// generation_config.json says. After an error `*writer` is null.
// Threads: any.
rillm_status rillm_translator_new(const struct rillm_model *model,
                                  const char *from,
                                  const char *to,
                                  struct rillm_writer **writer,
                                  struct rillm_error *error);

// A writer that summarizes. After an error `*writer` is null.
// Threads: any.
rillm_status rillm_summarizer_new(const struct rillm_model *model,
                                  struct rillm_writer **writer,
                                  struct rillm_error *error);

// Frees a writer; null is allowed, and one that a call is using stays.
// Threads: any, once.
void rillm_writer_free(struct rillm_writer *writer);

// How a writer writes: `options->size` is the caller's sizeof. Lists are there until other options are
// set or the writer is freed.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_writer_options(const struct rillm_writer *writer,
                                  struct rillm_generation_options *options,
                                  struct rillm_error *error);

// Writes another way: what rillm_writer_options wrote, changed. Options that contradict each other are
// refused by rillm_writer_write.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_writer_set_options(const struct rillm_writer *writer,
                                      const struct rillm_generation_options *options,
                                      struct rillm_error *error);

// Puts something else before each source than the model's files say, such as the task's name.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_writer_set_prefix(const struct rillm_writer *writer,
                                     const char *prefix,
                                     size_t len,
                                     struct rillm_error *error);

// Writes the texts for a source, num_return_sequences of them, the best first; `*count` is how many
// rillm_writer_text has then. `count` may be null.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_writer_write(const struct rillm_writer *writer,
                                const char *source,
                                size_t len,
                                size_t *count,
                                struct rillm_error *error);

// Ends rillm_writer_write, soon, with RILLM_STATUS_CANCELLED. If it is not running, the next one ends so.
// Threads: any, also while another thread is in a call.
rillm_status rillm_writer_cancel(const struct rillm_writer *writer, struct rillm_error *error);

// A text of the last rillm_writer_write.
// Threads: one at a time, others get RILLM_STATUS_BUSY.
rillm_status rillm_writer_text(const struct rillm_writer *writer,
                               size_t index,
                               struct rillm_written *written,
                               struct rillm_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RILLM_H */
