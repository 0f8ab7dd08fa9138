// Translates a text: translate MODEL FROM TO TEXT [BEAMS]; "" for a language that the model knows by itself.
//
//   cargo build --release -p rillm-capi
//   cc -Iinclude examples/c/translate.c target/release/librillm.a -lpthread -ldl -lm -o translate
//   cc -Iinclude examples/c/translate.c -Ltarget/release -lrillm -o translate      # shared

#include "rillm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *language(const char *code) { return *code != '\0' ? code : NULL; }

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: %s MODEL FROM TO TEXT [BEAMS]\n", argv[0]);
    return 2;
  }
  rillm_error error = {0};
  rillm_model *model = NULL;
  rillm_writer *translator = NULL;

  if (rillm_model_open(argv[1], NULL, &model, &error) != RILLM_STATUS_OK)
    goto done;
  if (rillm_translator_new(model, language(argv[2]), language(argv[3]), &translator, &error) !=
      RILLM_STATUS_OK)
    goto done;

  if (argc > 5) { // all of the beams' texts
    rillm_generation_options options = {.size = sizeof options};
    if (rillm_writer_options(translator, &options, &error) != RILLM_STATUS_OK)
      goto done;
    options.num_beams = strtoul(argv[5], NULL, 10);
    options.num_return_sequences = options.num_beams;
    if (rillm_writer_set_options(translator, &options, &error) != RILLM_STATUS_OK)
      goto done;
  }

  size_t count = 0;
  if (rillm_writer_write(translator, argv[4], strlen(argv[4]), &count, &error) != RILLM_STATUS_OK)
    goto done;
  for (size_t index = 0; index < count; index++) {
    rillm_written written = {.size = sizeof written};
    if (rillm_writer_text(translator, index, &written, &error) != RILLM_STATUS_OK)
      goto done;
    printf("%s\n", written.text);
  }

done:
  if (error.status != RILLM_STATUS_OK)
    fprintf(stderr, "%s\n", error.text);
  rillm_writer_free(translator);
  rillm_model_free(model);
  return error.status != RILLM_STATUS_OK;
}
