"""The prompt, laid out for reuse, and its questions: one contract for training, export and runtime.

A prompt is three texts in a row. ``golden`` holds the system turn, the golden image and constant
words; it ends at the **reuse boundary**: nothing before it depends on the test image or on the
question, so a runtime may keep its key-value cache. ``test`` holds the test image. The question
closes the turn. The texts meet at special tokens, so tokenizing them apart gives the same ids as
tokenizing them together. Wording follows the AD-Copilot spec, section 6.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from adcopilot_edge.types import Task

IMAGE_TOKEN = "<|image_pad|>"
VISION_SPAN = f"<|vision_start|>{IMAGE_TOKEN}<|vision_end|>"
END_OF_TURN = "<|im_end|>"
NO_DEFECT = "No defect"


class PromptTemplate(BaseModel):
    """The texts of a prompt; ``question`` holds ``{question}`` where the task's words go.

    ``yes`` and ``no`` are the answer letters of the verdict question: yes means a defect.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    golden: str = (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{VISION_SPAN} is a normal sample. "
    )
    test: str = VISION_SPAN
    question: str = " is the query sample. {question}" + END_OF_TURN + "\n<|im_start|>assistant\n"
    tasks: dict[Task, str] = {
        "verdict": "Is there any defect in the query sample? A. Yes B. No. Answer with the letter.",
        "classify": "What is the type of the defect in the query sample?",
        "locate": "Locate the defects in the query sample with bounding box in JSON format.",
        "describe": "Describe the anomaly in the query sample.",
    }
    yes: str = "A"
    no: str = "B"

    def ask(self, question: str) -> str:
        """The text behind the test image for a question in free words."""
        return self.question.format(question=question)

    def ask_task(self, task: Task) -> str:
        """The text behind the test image for one of the four tasks."""
        return self.ask(self.tasks[task])


DEFAULT_PROMPT = PromptTemplate()

# The verdict question with the letters the other way round: training shows both, so that the
# model reads the options instead of learning one letter.
SWAPPED_VERDICT = "Is there any defect in the query sample? A. No B. Yes. Answer with the letter."
