"""The list of terms is whole and its links hold; so are questions, answers, proofs."""

import json
import re
from pathlib import Path

NBS = Path(__file__).parents[1] / "nbs"
REVIEW = NBS / "18_review.ipynb"
LESSONS = sorted(set(NBS.glob("[0-9]*.ipynb")) - {REVIEW})
NO_TERM = {  # bold, and yet no term: why it is bold
    "a number": "0; 1; 10; one; two; ten; zero",
    "the word that the sentence turns on": "both directions; calls; copied; every; "
    "forgotten; kept in memory; largest; mirror; misses; one HTML file; right; "
    "smaller; ten epochs; wait; wherever it is",
    "what to do, in common words": "flush right; prepared; square",
    "a result": "digit itself; errors; no clear difference; plus 1",
}


def cells(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))["cells"]


def prose(notebook):
    texts = ["".join(c["source"]) for c in cells(notebook) if c["cell_type"] != "code"]
    return "\n\n".join(texts)


def without_stars_in_code(text):
    return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("*", ""), text)


def plain(term):
    """One name for a term, whatever its number and its capitals."""
    return term.strip("`").lower().removesuffix("s")


def anchor(heading):
    """The anchor of a section, as JupyterLab and GitHub make it."""
    return heading.replace("`", "").replace(" ", "-")


def headings_and_texts(notebook):
    """Each heading of a notebook, and the text below it, in their order."""
    text = without_stars_in_code(prose(notebook))
    _, *parts = re.split(r"^#+ (.+)$", text, flags=re.M)
    return list(zip(parts[::2], parts[1::2]))


def in_bold(text):
    """What is bold in a text, and how each paragraph begins before it."""
    for line in text.splitlines():
        for bold in re.finditer(r"\*\*(.+?)\*\*", line):
            yield line[: bold.start()], bold[1]


def leads_in(before):
    """Is it the first thing in a paragraph or in an item of a list?"""
    return re.fullmatch(r"\s*([-*] |\d+\. )?", before)


def is_term(before, bold):
    """Bold is a term, unless it leads in, is a sentence, or asks for a guess."""
    asks = bold.startswith("Guess") or bold[-1] in ".,:;?!"
    return not (leads_in(before) or asks or len(bold.split()) > 3)


TERMS, ALL_IN_BOLD, BOLD_AT = set(), set(), {}
for lesson in LESSONS:
    for heading, text in headings_and_texts(lesson):
        bold = {plain(words) for _, words in in_bold(text)}
        TERMS |= {
            plain(words) for before, words in in_bold(text) if is_term(before, words)
        }
        ALL_IN_BOLD |= bold
        # a link leads to the first of two sections of one name
        BOLD_AT.setdefault((lesson.name, anchor(heading)), bold)
NONE = {plain(term) for words in NO_TERM.values() for term in words.split("; ")}


def listed():
    """Of each entry in the list of terms: the terms, and the places it links to."""
    whole = prose(REVIEW)
    terms = whole[whole.index("## The terms") : whole.index("## The questions")]
    for line in re.findall(r"^- \*\*.*$", terms, re.M):
        head, sentence = line.split(":", 1)
        assert sentence.count("→") == 1 and len(sentence) > 20, line
        places = re.findall(
            r"\[\d\d [^]]+\]\(([^#)]+)#([^)]+)\)", sentence.split("→")[1]
        )
        yield [plain(term) for term in re.findall(r"\*\*(.+?)\*\*", head)], places


def test_each_term_of_the_lessons_is_in_the_list_and_no_other():
    terms = [term for head, _ in listed() for term in head]
    assert len(terms) == len(set(terms))
    lacking, invented = TERMS - NONE - set(terms), set(terms) - ALL_IN_BOLD
    assert not lacking, f"in bold in a lesson, and not in the list: {lacking}"
    assert not invented, f"in the list, and in bold in no lesson: {invented}"
    assert not NONE - TERMS, f"to be taken out of NO_TERM: {NONE - TERMS}"
    assert not NONE & set(terms), f"a term or none? {NONE & set(terms)}"


def test_the_list_is_sorted():
    first = [head[0] for head, _ in listed()]
    assert first == sorted(first)


def test_each_term_is_in_bold_in_the_section_that_its_entry_links_to():
    for terms, places in listed():
        for place in places:
            assert place in BOLD_AT, f"{terms[0]}: no section {place}"
            assert BOLD_AT[place] & set(terms), f"{terms[0]}: not in bold in {place}"
        for term in terms:
            assert any(term in BOLD_AT[place] for place in places), (
                f"no link for {term}"
            )


def test_links_inside_the_page_lead_to_one_place():
    places = [anchor(heading) for heading, _ in headings_and_texts(REVIEW)]
    assert len(places) == len(set(places)), "two sections of one name"
    assert set(re.findall(r"\]\(#([^)]+)\)", prose(REVIEW))) <= set(places)


def asked():
    """Number, text and link of each question."""
    pattern = r"^#### Question (\d+)\n\n(.+) → \[Answer (\d+)\]\(#Answer-(\d+)\)$"
    return re.findall(pattern, prose(REVIEW), re.M)


def answered():
    """Of each answer its heading, question and links; its text; its cells of code."""
    pattern = r"#### Answer (\d+)\n\n> (.+) ← \[Question (\d+)\]\(#Question-(\d+)\)\n"
    found = []
    for cell in cells(REVIEW):
        text = "".join(cell["source"])
        answer = re.search(pattern, text)
        if answer:
            found.append((answer.groups(), text[answer.end() :], []))
        elif found and text.startswith("## "):
            break
        elif found and cell["cell_type"] == "code":
            found[-1][2].append(cell)
    return found


def test_each_question_has_an_answer_below_linked_both_ways_and_a_proof():
    questions, answers = asked(), answered()
    assert [number for number, *_ in questions] == [str(n + 1) for n in range(60)]
    assert len(answers) == len(questions)
    for (number, text, *there), (head, answer, proof) in zip(questions, answers):
        assert there == [number] * 2 and head == (number, text, number, number)
        assert len(answer.strip()) > 100 and proof, f"{number} has no proof"
        assert any(cell["outputs"] for cell in proof), f"{number} shows nothing"
    whole = prose(REVIEW)
    assert whole.rindex("#### Question") < whole.index("## The answers")


def shown(proof):
    """All that the cells of a proof print, display as text, or say below a picture."""
    for output in (output for cell in proof for output in cell["outputs"]):
        yield from output.get("text", [])
        for kind in ("text/plain", "text/markdown"):
            yield from output.get("data", {}).get(kind, [])


def numbers(text):
    """The numbers in a text, each without its sign and its commas."""
    found = re.findall(r"\d[\d,]*(?:\.\d+)?(?:e[-−]?\d+)?", text)
    return {number.replace(",", "").replace("−", "-") for number in found}


def test_each_number_in_an_answer_stands_in_an_output_of_its_proof():
    """Whole numbers up to ten apart: these count, name a digit, or are in a formula."""
    for (question, text, *_), answer, proof in answered():
        answer = re.sub(r"`[^`\n]*`|(notebook|question) \d+", "", answer)
        there = numbers(" ".join(shown(proof)))
        for number in numbers(answer) - numbers(text):
            if float(number) > 10 or "." in number:
                assert number in there, f"{question}: no output has {number}"
