"""Rows that spread a conversation over columns of fixed names: Alpaca, prompt and completion, query and response, and
the older shapes of Google's own tuning.

Sources: the data formats of Stanford Alpaca, self-instruct, LLaMA-Factory, ms-swift and TRL as in their repositories;
OpenAI's prompt/completion lines; the `text_input`/`output` pairs of AI Studio and the `author` messages of PaLM chat
tuning; read 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...types import Example, Json, Location
from .conversation import Conversation
from .media import Placeholders
from .row_values import (
    TO_ASK,
    TO_LEARN,
    as_list,
    has,
    is_missing,
    kind,
    optional_text,
    read_text,
    refuse,
    refuse_missing,
)


def from_alpaca(row: Mapping[str, Json], where: Location) -> Example:
    """`instruction`, `input` (may be empty) and `output`; also `system`, `history`, or one of `instances`.

    The user's turn is the instruction, a line break, and the input where there is one.
    """
    conversation = Conversation(where, Placeholders(row, where))
    conversation.system_column(row)
    used = {"instruction", *_history(row, conversation, where)}
    source, prefix = row, ""
    if "output" not in row and has(row, "instances"):
        source, prefix = _only_instance(row["instances"], where), "instances[0]."
        used.add("instances")
    else:
        used |= {"input", "output"} & set(row)
    conversation.say("user", instruction_of(row, source, where), "instruction")
    if "output" not in source:
        refuse_missing(source, "output", where)
    conversation.say("model", read_text(source["output"], f"{prefix}output", where, TO_LEARN), f"{prefix}output")
    return conversation.with_columns(conversation.trained("instruction"), row, used)


def instruction_of(row: Mapping[str, Json], source: Mapping[str, Json], where: Location) -> str:
    """What the user asks in an Alpaca row: the instruction, and below it the input where there is one."""
    if "instruction" not in row:
        refuse_missing(row, "instruction", where)
    instruction = read_text(row["instruction"], "instruction", where, TO_ASK)
    further = source.get("input")
    if is_missing(further) or (isinstance(further, str) and not further.strip()):
        return instruction
    return f"{instruction}\n{read_text(further, 'input', where, TO_ASK)}"


def _only_instance(value: Json, where: Location) -> Mapping[str, Json]:
    instances = as_list(value)
    if instances is None or len(instances) != 1:
        found = f"{len(instances)}" if instances is not None else kind(value)
        what = f"expected one instance, found {found}"
        refuse(where, "instances", what, "data-shape", "one row gives one example: write a row for each instance.")
    if not isinstance(instances[0], Mapping):
        refuse(where, "instances[0]", f"expected an object, found {kind(instances[0])}", "data-shape")
    return instances[0]


def _history(row: Mapping[str, Json], conversation: Conversation, where: Location) -> set[str]:
    """Earlier turns as pairs of question and answer."""
    if "history" not in row:
        return set()
    if not is_missing(row["history"]) and row["history"] != "":
        pairs = as_list(row["history"])
        if pairs is None:
            refuse(where, "history", f"expected a list of pairs, found {kind(row['history'])}", "data-type")
        for at, value in enumerate(pairs):
            pair, field = as_list(value), f"history[{at}]"
            if pair is None or len(pair) != 2:
                refuse(where, field, "expected a question and its answer", "data-shape")
            for role, text, index in (("user", pair[0], 0), ("model", pair[1], 1)):
                conversation.say(role, read_text(text, f"{field}[{index}]", where, TO_ASK), f"{field}[{index}]")
    return {"history"}


def from_query(row: Mapping[str, Json], where: Location) -> Example:
    """ms-swift's `query` and `response`, with `system` and `history`."""
    if not has(row, "query"):
        hint = "a row of answers alone is for pre-training: tuning needs what was asked."
        refuse_missing(row, "query", where, hint)
    if "response" not in row:
        refuse_missing(row, "response", where)
    conversation = Conversation(where, Placeholders(row, where))
    conversation.system_column(row)
    used = {"query", "response", *_history(row, conversation, where)}
    conversation.say("user", read_text(row["query"], "query", where, TO_ASK), "query")
    conversation.say("model", read_text(row["response"], "response", where, TO_LEARN), "response")
    return conversation.with_columns(conversation.trained("response"), row, used)


def asks_query(row: Mapping[str, Json], conversation: Conversation, where: Location) -> set[str]:
    """The user's side of such a row, for what is answered elsewhere; gives the columns that it used."""
    used = {"query", *_history(row, conversation, where)}
    conversation.say("user", read_text(row["query"], "query", where, TO_ASK), "query")
    return used


def from_completion(row: Mapping[str, Json], where: Location) -> Example:
    """`prompt` and `completion`: two texts, kept to the last space, or two lists of messages."""
    for column in ("prompt", "completion"):
        if column not in row:
            refuse_missing(row, column, where)
    conversation = Conversation(where, Placeholders(row, where))
    conversation.system_column(row)
    prompt, completion = as_list(row["prompt"]), as_list(row["completion"])
    if (prompt is None) != (completion is None):
        what = f"'prompt' is {kind(row['prompt'])} and 'completion' is {kind(row['completion'])}"
        refuse(where, "completion", what, "data-type", "both are texts, or both are lists of messages.")
    if prompt is None:
        conversation.say("user", read_text(row["prompt"], "prompt", where, TO_ASK), "prompt")
        conversation.say("model", read_text(row["completion"], "completion", where, TO_LEARN), "completion")
    else:
        conversation.add_all(prompt, "prompt")
        conversation.add_all(completion, "completion")
    return conversation.with_columns(conversation.trained("completion"), row, {"prompt", "completion"})


def from_ai_studio(row: Mapping[str, Json], where: Location) -> Example:
    """`text_input` (or `textInput`) and `output`; and PaLM's chat: `context` and `messages` with an `author`.

    The service takes neither any longer; what they say is written in today's shape.
    """
    conversation = Conversation(where)
    conversation.system_column(row)
    if has(row, "messages"):
        context = optional_text(row, "context", where)
        if context is not None:
            conversation.add_all([{"role": "system", "content": context}], "context")
        conversation.add_all(row["messages"], "messages")
        return conversation.with_columns(conversation.trained("messages"), row, {"messages", *({"context"} & set(row))})
    asked = "textInput" if "textInput" in row and "text_input" not in row else "text_input"
    for column in (asked, "output"):
        if column not in row:
            refuse_missing(row, column, where)
    conversation.say("user", read_text(row[asked], asked, where, TO_ASK), asked)
    conversation.say("model", read_text(row["output"], "output", where, TO_LEARN), "output")
    return conversation.with_columns(conversation.trained("output"), row, {asked, "output"})
