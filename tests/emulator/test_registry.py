"""Models and endpoints, through google-genai and through the gapic REST clients."""

from __future__ import annotations

import pytest

from .conftest import PARENT, Clients, Tuned, dataset

pytestmark = pytest.mark.filterwarnings("ignore")


def test_models_through_genai(tuned: Tuned) -> None:
    """The tuned model is listed, read by both of its names, and knows its checkpoints and its base model."""
    client = tuned.clients.genai()
    name = tuned.job["tunedModel"]["model"]
    assert name.partition("@")[0] in [model.name for model in client.models.list(config={"query_base": False})]
    model = client.models.get(model=name)
    assert model.name == client.models.get(model=name.partition("@")[0]).name
    assert (model.display_name, model.version, model.default_checkpoint_id) == ("demo", "1", "6")
    assert [item.checkpoint_id for item in model.checkpoints] == list("123456")
    assert model.tuned_model_info.base_model == "gemini-2.5-flash"
    assert model.labels["run"] == "abc"
    assert len(model.endpoints) == 6


def test_base_models(tuned: Tuned) -> None:
    """Base models are listed and read; a misspelt one is a 404."""
    from google.genai import errors

    client = tuned.clients.genai()
    assert client.models.get(model="gemini-2.5-flash").name == "publishers/google/models/gemini-2.5-flash"
    assert "publishers/google/models/gemini-2.5-pro" in [model.name for model in client.models.list()]
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="gemini-2.5-falsh")
    assert caught.value.code == 404


def test_default_checkpoint_can_be_changed(clients: Clients) -> None:
    """A new default checkpoint is what the model, and the job's endpoint, answer with from then on."""
    clients.upload("train.jsonl", dataset(4))
    job = clients.ended(clients.create()["name"])
    model = job["tunedModel"]["model"]
    client = clients.genai()
    changed = client.models.update(
        model=model, config={"default_checkpoint_id": "1", "display_name": "new", "description": "d"}
    )
    assert (changed.default_checkpoint_id, changed.display_name, changed.description) == ("1", "new", "d")
    assert clients.job(job["name"])["tunedModel"]["endpoint"] == job["tunedModel"]["checkpoints"][0]["endpoint"]
    status, _, _ = clients.raw("PATCH", f"/v1/{model}", {"defaultCheckpointId": "9"})
    assert status == 400


def test_clean_up_in_the_only_order_that_works(clients: Clients) -> None:
    """A model is deleted after its endpoints were undeployed, an endpoint after it is empty; operations end at once."""
    endpoints, models = clients.gapic("EndpointServiceClient"), clients.gapic("ModelServiceClient")
    exceptions = pytest.importorskip("google.api_core.exceptions")
    clients.upload("train.jsonl", dataset(4))
    job = clients.ended(clients.create()["name"])
    model = job["tunedModel"]["model"].partition("@")[0]
    status, _, answer = clients.raw("DELETE", f"/v1/{model}")
    assert (status, answer["error"]["status"]) == (400, "FAILED_PRECONDITION")
    with pytest.raises(exceptions.BadRequest):
        endpoints.delete_endpoint(name=job["tunedModel"]["endpoint"])
    for endpoint in list(endpoints.list_endpoints(parent=PARENT)):
        assert endpoint.labels["google-vertex-llm-tuning-job-id"] == job["name"].rsplit("/", 1)[1]
        found = endpoints.get_endpoint(name=endpoint.name)
        deployed = found.deployed_models[0]
        assert deployed.model == model
        done = endpoints.undeploy_model(endpoint=endpoint.name, deployed_model_id=deployed.id, traffic_split={})
        assert type(done.result(timeout=5)).__name__ == "UndeployModelResponse"
        content = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
        assert clients.raw("POST", f"/v1/{endpoint.name}:generateContent", content)[0] == 400
        endpoints.delete_endpoint(name=endpoint.name).result(timeout=5)
    operation = models.delete_model(name=model)
    assert type(operation.result(timeout=5)).__name__ == "Empty"
    assert clients.raw("GET", f"/v1/{operation.operation.name}")[2]["done"] is True
    assert clients.raw("GET", f"/v1/{model}")[0] == 404
    assert clients.raw("GET", f"/v1/{PARENT}/endpoints")[2] == {}
    assert clients.job(job["name"])["state"] == "JOB_STATE_SUCCEEDED"


def test_genai_deletes_a_model(clients: Clients) -> None:
    """google-genai's delete works once nothing is deployed, and says why before."""
    from google.genai import errors

    clients.upload("train.jsonl", dataset(4))
    job = clients.ended(clients.create(epochs=1)["name"])
    client, model = clients.genai(), job["tunedModel"]["model"]
    with pytest.raises(errors.ClientError, match="deployed"):
        client.models.delete(model=model)
    endpoint = job["tunedModel"]["endpoint"]
    deployed = clients.raw("GET", f"/v1/{endpoint}")[2]["deployedModels"][0]["id"]
    clients.raw("POST", f"/v1/{endpoint}:undeployModel", {"deployedModelId": deployed})
    client.models.delete(model=model)
    with pytest.raises(errors.ClientError):
        client.models.get(model=model)


def test_unknown_routes_are_named(clients: Clients) -> None:
    """What the emulator does not know is a JSON error that names the route: 404, or 501 when the service has it."""
    status, headers, answer = clients.raw("GET", "/v1/nothing/here")
    assert status == 404
    assert "GET /v1/nothing/here" in answer["error"]["message"]
    assert headers["x-gemini-tuning-simulated"] == "true"
    status, _, answer = clients.raw("POST", f"/v1/{PARENT}/batchPredictionJobs", {})
    assert (status, answer["error"]["status"]) == (501, "UNIMPLEMENTED")
