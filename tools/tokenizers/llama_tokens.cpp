// llama.cpp's side of compare.py: encodes texts and writes ids and pieces.
//
//     llama_tokens VOCABULARY.gguf PARSE_SPECIAL ADD_SPECIAL < texts
//
// Each text comes after its length (32 bits, little-endian). For each, a line: ids, a bar, and the
// bytes of their pieces in hexadecimal. The seconds spent in llama_tokenize go to stderr. Compile
// with llama.h and libllama.

#include "llama.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

int main(int argc, char ** argv) {
    if (argc != 4) {
        return 2;
    }
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    llama_model * model = llama_model_load_from_file(argv[1], params);
    if (!model) {
        fprintf(stderr, "cannot open %s\n", argv[1]);
        return 1;
    }
    const llama_vocab * vocab = llama_model_get_vocab(model);
    const bool parses = atoi(argv[2]), adds = atoi(argv[3]);
    double seconds = 0;
    uint32_t len;
    while (fread(&len, sizeof len, 1, stdin) == 1) {
        std::string text(len, '\0');
        if (fread(&text[0], 1, len, stdin) != len) {
            return 1;
        }
        std::vector<llama_token> tokens(len + 16);
        const auto start = std::chrono::steady_clock::now();
        const int count = llama_tokenize(vocab, text.data(), len, tokens.data(), tokens.size(), adds, parses);
        seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        std::string pieces;
        for (int i = 0; i < count; i++) {
            char piece[4096];
            const int piece_len = llama_token_to_piece(vocab, tokens[i], piece, sizeof piece, 0, true);
            pieces.append(piece, piece_len > 0 ? piece_len : 0);
            printf(i ? " %d" : "%d", tokens[i]);
        }
        printf("|");
        for (unsigned char byte : pieces) {
            printf("%02x", byte);
        }
        printf("\n");
    }
    fprintf(stderr, "%f s\n", seconds);
}
