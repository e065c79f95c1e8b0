"""Makes metrics_qrels.tsv, metrics_run.tsv and metrics_expected.json: judgments and a run of our own, made up with a
fixed seed, and what pytrec_eval says of them.

    python3 -m venv venv && venv/bin/pip install pytrec_eval-terrier==0.5.11
    venv/bin/python make_metrics.py

The run has ties, scores that differ by less than a 32-bit number can tell, unjudged documents, lists shorter than 10
and longer than 100, a query without a relevant document, a query without a judged one found, and judgments of a query
that is not in the run.
"""

import json
import pathlib
import random

import numpy
import pytrec_eval

SEED = 20261120
FOLDER = pathlib.Path(__file__).parent
MEASURES = {"ndcg_cut.5,10", "P.5,10", "recall.20,100", "recip_rank", "map"}


def made_up(generator):
    qrels, run = {}, {}
    lengths = [0, 3, 9, 10, 11, 40, 99, 100, 101, 150, 180, 60]
    for number, length in enumerate(lengths):
        query = f"q{number:02d}"
        documents = [f"d{document:03d}" for document in range(200)]
        generator.shuffle(documents)
        judged = generator.sample(documents, 25)
        qrels[query] = {document: generator.choice([0, 0, 0, 1, 1, 2, 3, -1]) for document in judged}
        scores = {}
        for document in documents[:length]:
            score = round(generator.random() * 4, 1)  # a coarse grid, so that ties are common
            if generator.random() < 0.2:
                score += 1e-10  # below the resolution of 32 bits
            scores[document] = score + 0.5 * max(qrels[query].get(document, 0), 0)
        run[query] = scores
    qrels["q05"] = {document: 0 for document in qrels["q05"]}  # nothing relevant
    qrels["q06"] = {f"elsewhere{number}": 1 for number in range(5)}  # nothing judged is found
    qrels["q99"] = {"d000": 1}  # not asked
    return qrels, run


def trec_order(scores):
    """trec_eval's order: scores in 32 bits, then ids, both from high to low."""
    return sorted(scores, key=lambda document: (float(numpy.float32(scores[document])), document), reverse=True)


def measure(qrels, run):
    return pytrec_eval.RelevanceEvaluator(qrels, MEASURES).evaluate(run)


def main():
    qrels, run = made_up(random.Random(SEED))
    whole = measure(qrels, run)
    judged = {query: {d: s for d, s in scores.items() if d in qrels[query]} for query, scores in run.items()}
    # Exponential gain is linear gain of 2^grade - 1.
    exponential = {query: {d: 2 ** max(g, 0) - 1 for d, g in grades.items()} for query, grades in qrels.items()}
    first_ten = {query: {d: scores[d] for d in trec_order(scores)[:10]} for query, scores in run.items()}
    whole_exponential, judged_exponential = measure(exponential, run), measure(exponential, judged)
    judged, cut = measure(qrels, judged), measure(qrels, first_ten)
    expected = {}
    for query, scores in run.items():
        if max(qrels[query].values()) < 1:
            continue
        shown = trec_order(scores)[:10]
        expected[query] = {
            "ndcg@10": whole.get(query, {}).get("ndcg_cut_10", 0.0),
            "judged_ndcg@10": judged.get(query, {}).get("ndcg_cut_10", 0.0),
            "ndcg_exponential@10": whole_exponential.get(query, {}).get("ndcg_cut_10", 0.0),
            "judged_ndcg_exponential@10": judged_exponential.get(query, {}).get("ndcg_cut_10", 0.0),
            "precision@10": whole.get(query, {}).get("P_10", 0.0),
            "ndcg@5": whole.get(query, {}).get("ndcg_cut_5", 0.0),
            "judged_ndcg_exponential@5": judged_exponential.get(query, {}).get("ndcg_cut_5", 0.0),
            "precision@5": whole.get(query, {}).get("P_5", 0.0),
            "recall@20": whole.get(query, {}).get("recall_20", 0.0),
            "judged@10": sum(d in qrels[query] for d in shown) / max(len(shown), 1),
            "recall@100": whole.get(query, {}).get("recall_100", 0.0),
            "mrr@10": cut.get(query, {}).get("recip_rank", 0.0),
            "map": whole.get(query, {}).get("map", 0.0),
        }
    (FOLDER / "metrics_expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    with open(FOLDER / "metrics_qrels.tsv", "w") as file:
        for query, grades in qrels.items():
            file.writelines(f"{query} 0 {document} {grade}\n" for document, grade in grades.items())
    with open(FOLDER / "metrics_run.tsv", "w") as file:
        for query, scores in run.items():
            for rank, document in enumerate(trec_order(scores), 1):
                file.write(f"{query} Q0 {document} {rank} {scores[document]!r} made-up\n")


main()
