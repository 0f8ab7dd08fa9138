// Continues a text: generate MODEL.gguf PROMPT [TOKENS]
//
//   cargo build --release -p rillm-capi
//   cc -Iinclude examples/c/generate.c target/release/librillm.a -lpthread -ldl -lm -o generate
//   cc -Iinclude examples/c/generate.c -Ltarget/release -lrillm -o generate      # shared

#include "rillm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print(void *user, uint32_t token, const char *text, size_t len) {
  (void)token;
  FILE *out = user;
  return fwrite(text, 1, len, out) != len || fflush(out) != 0;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: %s MODEL.gguf PROMPT [TOKENS]\n", argv[0]);
    return 2;
  }
  rillm_error error = {0};
  rillm_model *model = NULL;
  rillm_session *session = NULL;
  rillm_sampler *sampler = NULL;
  uint32_t *prompt = NULL;
  size_t count = 0;

  if (rillm_model_open(argv[1], NULL, &model, &error) != RILLM_STATUS_OK)
    goto done;

  // No text has more tokens than bytes, but for those that the model wants around it.
  size_t capacity = strlen(argv[2]) + 16;
  prompt = malloc(capacity * sizeof *prompt);
  if (prompt == NULL)
    goto done;
  if (rillm_tokenize(model, argv[2], strlen(argv[2]), RILLM_ADD_SPECIAL, prompt, capacity, &count,
                     &error) != RILLM_STATUS_OK)
    goto done;

  rillm_sampler_options choice;
  rillm_sampler_options_init(&choice, sizeof choice);
  choice.temperature = 0; // always the most likely token
  if (rillm_sampler_new(model, &choice, &sampler, &error) != RILLM_STATUS_OK)
    goto done;
  if (rillm_session_new(model, NULL, &session, &error) != RILLM_STATUS_OK)
    goto done;

  size_t limit = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
  rillm_generation facts = {.size = sizeof facts};
  if (rillm_generate(session, sampler, prompt, count, limit, print, stdout, &facts, &error) ==
      RILLM_STATUS_OK)
    fprintf(stderr, "%llu tokens in %.2f s\n", (unsigned long long)facts.tokens, facts.seconds);

done:
  if (error.status != RILLM_STATUS_OK)
    fprintf(stderr, "%s\n", error.text);
  free(prompt);
  rillm_session_free(session);
  rillm_sampler_free(sampler);
  rillm_model_free(model);
  return error.status != RILLM_STATUS_OK;
}
