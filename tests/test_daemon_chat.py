"""``/v1/chat/completions`` as OpenAI's own client for Python uses it."""

from __future__ import annotations

import base64

import pytest
from daemon_fakes import BUNDLE, picture, running_daemon

openai = pytest.importorskip("openai")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with running_daemon(tmp_path_factory.mktemp("chat")) as running:
        yield running


@pytest.fixture(scope="module")
def client(running):
    with (
        running.served() as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def url(image):
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def message(*pictures, text=None):
    content = [
        {"type": "image_url", "image_url": {"url": link if isinstance(link, str) else url(link)}}
        for link in pictures
    ]
    if text is not None:
        content.append({"type": "text", "text": text})
    return [{"role": "user", "content": content}]


def test_models_are_the_bundle_and_the_products(client):
    names = [model.id for model in client.models.list()]
    assert names == [BUNDLE, "adcopilot", "product:cap", "product:lid"]
    assert client.models.retrieve("product:cap").owned_by == "adcopilot-edge"
    with pytest.raises(openai.NotFoundError, match="no model"):
        client.models.retrieve("product:nut")


@pytest.mark.parametrize("model", ["adcopilot", BUNDLE])
def test_two_images_are_a_golden_and_a_part(running, client, model):
    golden, part = picture("normal", seed=5), picture("anomaly", seed=6)
    completion = client.chat.completions.create(
        model=model, messages=message(golden, part, text="What is wrong?")
    )
    assert completion.choices[0].message.content == "You asked: What is wrong?"
    assert completion.choices[0].finish_reason == "stop"
    record = completion.adcopilot
    assert (record["verdict"], record["product"], record["source"]) == ("anomaly", "(pair)", "chat")
    job = running.worker.jobs[-1]
    assert (job.golden, job.image) == (golden, part)
    assert running.daemon.journal.record(record["id"])["verdict"] == "anomaly"


def test_one_image_is_compared_with_the_golden_of_its_product(running, client):
    completion = client.chat.completions.create(
        model="product:lid", messages=message(picture("anomaly"))
    )
    assert completion.choices[0].message.content == (
        "Anomaly: scratch at [4, 6, 12, 16]. Score 0.875, threshold 0.500."
    )
    assert completion.adcopilot["product"] == "lid"
    assert running.worker.jobs[-1].golden is None


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (picture("normal"), "Normal: no defect. Score 0.125, threshold 0.500."),
        (picture("uncertain"), "Uncertain: so the part is rejected. Score"),
        (b"no picture", "Uncertain, so the part is rejected: "),
    ],
)
def test_the_verdict_in_words(client, image, words):
    completion = client.chat.completions.create(model="product:cap", messages=message(image))
    assert completion.choices[0].message.content.startswith(words)


def test_what_has_no_effect_is_told(client):
    messages = [{"role": "system", "content": "Be brief."}, *message(picture(), text="Why?")]
    completion = client.chat.completions.create(
        model="product:cap",
        messages=messages,
        temperature=0.2,
        max_tokens=50,
        extra_body={"adcopilot": {"reference": "A-7", "tasks": ["describe"]}},
    )
    record = completion.adcopilot
    assert record["ignored"] == ["max_tokens", "temperature", "messages:system"]
    assert (record["reference"], set(record["text"])) == ("A-7", {"describe", "ask"})


def test_a_stream_gives_the_words_in_pieces_and_the_record_at_last(client):
    chunks = list(
        client.chat.completions.create(
            model="product:cap", messages=message(picture("anomaly"), text="Why?"), stream=True
        )
    )
    words = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(words) == "You asked: Why?"
    assert len([word for word in words if word]) == 2
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[1].adcopilot == {"verdict": "anomaly", "anomaly_score": 0.875}
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].adcopilot["verdict"] == "anomaly"
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_without_a_question_has_the_sentence(client):
    chunks = client.chat.completions.create(
        model="adcopilot", messages=message(picture(), picture()), stream=True
    )
    words = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert words == "Normal: no defect. Score 0.125, threshold 0.500."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"messages": message(picture())}, "takes two images"),
        ({"messages": message(*[picture()] * 3)}, "there are 3"),
        ({"model": "product:cap", "messages": message(picture(), picture())}, "takes one image"),
        ({"messages": [{"role": "user", "content": "Hello"}]}, "there are 0"),
        ({"messages": message("https://127.0.0.1/a.png", picture())}, "only data:"),
        ({"messages": message("data:image/png;base64,?", picture())}, "base64 is broken"),
        ({"messages": message("file:///etc/passwd", picture())}, "only data:"),
        ({"messages": message(picture(), picture(), text="x" * 2001)}, "more than 2000"),
        ({"messages": [*message(picture()), {"role": "assistant", "content": "x"}]}, "at once"),
        ({"messages": [{"role": "cook", "content": "x"}]}, "messages.0.role"),
        ({"n": 2}, "n: 2"),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools: "),
        ({"response_format": {"type": "json_object"}}, "response_format: "),
        ({"extra_body": {"adcopilot": {"tasks": ["sing"]}}}, "tasks.0: "),
        ({"extra_body": {"adcopilot": {"colour": "red"}}}, "adcopilot.colour: "),
        ({"extra_body": {"adcopilot": {"station": "roof"}}}, "no station 'roof'"),
    ],
)
def test_what_is_no_chat_about_one_part(running, client, changes, words):
    before = len(running.worker.jobs)
    asked = {"model": "adcopilot", "messages": message(picture(), picture()), **changes}
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.chat.completions.create(**asked)
    assert words in caught.value.body["message"]
    assert caught.value.type == caught.value.body["kind"]
    assert len(running.worker.jobs) == before


def test_an_unknown_model(client):
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4o'; known: fake-bundle"):
        client.chat.completions.create(model="gpt-4o", messages=message(picture(), picture()))


def test_a_takt_that_ends_within_the_answer_is_told_in_words(tmp_path):
    stations = [{"name": "belt", "product": "cap", "takt_ms": 200}]
    with running_daemon(tmp_path, stations=stations) as running:
        running.worker.gate.clear()
        body = {"model": "product:cap", "messages": message(picture()), "stream": True}
        reply = running.client.post("/v1/chat/completions", json=body)
        assert "so the part is rejected: the takt ended" in reply.text
        assert reply.text.endswith("data: [DONE]\n\n")
