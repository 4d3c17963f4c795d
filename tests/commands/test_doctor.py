"""`pbpk doctor`: what a bug report carries, and problems with exit code 1."""


def test_doctor_as_json(pbpk):
    ran = pbpk("doctor", "--json")
    assert ran.code == 0, ran.out
    found = ran.json
    assert found["schema_version"] == 1 and found["problems"] == [] and found["float64"] is True
    assert {"python", "jax", "numpy"} <= set(found["versions"])
    assert found["devices"] and found["cores"] >= 1
    assert "theophylline" in found["studies"] and "iodide" in found["models"]
    assert found["extras"]["report"] is True


def test_doctor_as_text(pbpk):
    ran = pbpk("doctor")
    assert ran.code == 0 and ran.err == ""
    assert "float64" in ran.out and "no problems found" in ran.out


def test_doctor_names_a_missing_cache(pbpk, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    ran = pbpk("doctor", "--json")
    assert ran.code == 1 and ran.json["compile_cache"] is None
    assert "PBPK_CACHE" in ran.json["problems"][0]
    assert "problem: " in pbpk("doctor").out


def test_doctor_names_a_missing_extra(pbpk, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "matplotlib" else real(n, *a))
    assert pbpk("doctor", "--json").json["extras"]["report"] is False
    assert "pip install pbpk[report]" in pbpk("doctor").out
