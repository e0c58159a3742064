"""The timing of the evaluation at scale runs every step from detect to page, and counts time and memory of each."""

from timing import scale
from workflow_scripts.lat.data.lid import PY3LANGID
from workflow_scripts.lat.files import read_table


def test_all_steps_run_on_made_up_outputs(tmp_path):
    found = scale.measure(3, 12, [PY3LANGID], 2, tmp_path, ["all", "copy"])
    assert found["directions"] == 6 and found["lines"] == 6 * 12 * len(scale.SYSTEMS)
    jobs = {"detect": 1 + len(scale.SYSTEMS), "score": len(scale.SYSTEMS), "significance": 1, "tables": 1, "page": 1}
    assert {name: use["jobs"] for name, use in found["steps"].items()} == jobs
    assert all(use["seconds"] > 0 and use["cpu_s"] > 0 and use["memory_gb"] > 0.01 for use in found["steps"].values())
    assert found["memory_gb"] == max(use["memory_gb"] for use in found["steps"].values())
    assert sum(use["seconds"] for use in found["steps"].values()) <= found["seconds"]
    means = {
        (row["benchmark"], row["system"]): float(row["mean"])
        for row in read_table(tmp_path / "tables/summary.tsv")
        if (row["supervision"], row["direction"], row["metric"]) == ("zero-shot", "AVG", "BLEU")
    }
    assert means["all", "LAT"] > means["all", "MT"] > means["all", "Base"]
    assert means["copy", "LAT"] == means["all", "LAT"]
    assert "copy" in (tmp_path / "page/index.html").read_text() and not list((tmp_path / "page/examples").iterdir())
