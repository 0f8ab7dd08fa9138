// llama.cpp's side of opened.py: what a model computes of one text.
//
//     llama_logits MODEL.gguf logits|embeddings ID… > floats
//
// Writes the rows of all positions as little-endian floats. The KV cache is in float32, flash attention
// is off. Compile with llama.h, libllama and libggml.

#include "llama.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

int main(int argc, char ** argv) {
    if (argc < 4) {
        return 2;
    }
    const auto complain = [](ggml_log_level level, const char * text, void *) {
        if (level >= GGML_LOG_LEVEL_ERROR) {
            fputs(text, stderr);
        }
    };
    llama_log_set(complain, nullptr);
    llama_backend_init();
    llama_model_params of_model = llama_model_default_params();
    of_model.n_gpu_layers = 0;
    llama_model * model = llama_model_load_from_file(argv[1], of_model);
    if (!model) {
        return 1;
    }
    const bool embeds = strcmp(argv[2], "embeddings") == 0;
    llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = 512;
    params.n_threads = params.n_threads_batch = 1;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.embeddings = embeds;
    params.pooling_type = LLAMA_POOLING_TYPE_NONE;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) {
        return 1;
    }
    const int count = argc - 3;
    llama_batch batch = llama_batch_init(count, 0, 1);
    batch.n_tokens = count;
    for (int i = 0; i < count; i++) {
        batch.token[i] = atoi(argv[i + 3]);
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = true;
    }
    if (llama_decode(context, batch) != 0) {
        return 1;
    }
    const int width = embeds ? llama_model_n_embd(model) : llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (int i = 0; i < count; i++) {
        const float * row = embeds ? llama_get_embeddings_ith(context, i) : llama_get_logits_ith(context, i);
        fwrite(row, sizeof *row, width, stdout);
    }
}
