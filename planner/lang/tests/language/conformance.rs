//! The situations of HCL's public specification suite that apply, as inputs and results of our own: expressions, and
//! how files are made of attributes and blocks.
//! Two results differ on purpose: decimals are exact, so 11 % 5.1 is 0.8 and not a binary fraction near it; and a list
//! equals a tuple of equal items.

use crate::support::{BASE, table, validate};

#[test]
fn operators() {
    table(&[
        ("\"a\" == \"a\"", "true"),
        ("\"a\" == \"b\"", "false"),
        // Where it is false in HCL since a list is of another type than what is written with brackets.
        ("tolist([]) == []", "true"),
        ("tolist([\"a\"]) == [\"a\"]", "true"),
        ("tolist([\"a\"]) == [\"b\"]", "false"),
        ("\"1\" == 1", "false"),
        ("\"true\" == true", "false"),
        ("\"a\" != \"a\"", "false"),
        ("\"1\" != 1", "true"),
        ("1 < 2", "true"),
        ("1 < 1", "false"),
        ("2 <= 1", "false"),
        ("1 <= 1", "true"),
        ("2 > 1", "true"),
        ("1 > 1", "false"),
        ("1 >= 2", "false"),
        ("1 >= 1", "true"),
        ("2 + 3.5", "5.5"),
        (
            "3.14159265358979323846264338327950288419716939937510582097494459 + 1",
            "4.14159265358979323846264338327950288419716939937510582097494459",
        ),
        ("3.5 - 2", "1.5"),
        ("2 - 3.5", "-1.5"),
        ("2 * 4.5", "9"),
        ("1 / 10", "0.1"),
        ("11 % 5", "1"),
        ("11 % 5.1", "0.8"),
        ("true && false", "false"),
        ("false || true", "true"),
        ("!false", "true"),
        ("true ? \"a\" : \"b\"", "\"a\""),
        ("false ? \"a\" : \"b\"", "\"b\""),
        ("\"ЖЖ\"", "\"ЖЖ\""),
        ("\"👩‍👩‍👧‍👦\"", "\"👩‍👩‍👧‍👦\""),
        ("null", "null"),
    ]);
}

#[test]
fn heredocs() {
    let cases = [
        ("<<EOT", "Foo\nBar\nBaz\n", "EOT", "Foo\\nBar\\nBaz\\n"),
        ("<<EOT", "    Foo\n    Bar\n", "  EOT", "    Foo\\n    Bar\\n"),
        ("<<EOT", "    Foo\n    ${bar}\n", "  EOT", "    Foo\\n    Bar\\n"),
        ("<<EOT", "Foo\n\nBar\n", "EOT", "Foo\\n\\nBar\\n"),
        ("<<EOT", "    NOT EOT\n", "  EOT", "    NOT EOT\\n"),
        ("<<-EOT", "Foo\nBar\n", "EOT", "Foo\\nBar\\n"),
        ("<<-EOT", "    Foo\n    Bar\n", "  EOT", "Foo\\nBar\\n"),
        (
            "<<-EOT",
            "    Foo\n      Bar\n    Baz\n",
            "  EOT",
            "Foo\\n  Bar\\nBaz\\n",
        ),
        (
            "<<-EOT",
            "    Foo\n  Bar\n    Baz\n",
            "  EOT",
            "  Foo\\nBar\\n  Baz\\n",
        ),
        (
            "<<-EOT",
            "    Foo\n    ${bar}\n    Baz\n",
            "  EOT",
            "Foo\\nBar\\nBaz\\n",
        ),
        (
            "<<-EOT",
            "    Foo\n      ${bar}\n    Baz\n",
            "  EOT",
            "Foo\\n  Bar\\nBaz\\n",
        ),
        (
            "<<-EOT",
            "    Foo\n  ${space}\n    Baz\n",
            "  EOT",
            "  Foo\\n  Bar\\n  Baz\\n",
        ),
        ("<<-EOT", "\tFoo\n  Bar\n  Baz\n", "  EOT", "Foo\\n Bar\\n Baz\\n"),
        ("<<-EOT", "    Foo\n\n    Bar\n", "  EOT", "Foo\\n\\nBar\\n"),
    ];
    for (open, lines, close, expected) in cases {
        let text = format!("[for bar, space in {{ Bar = \"  Bar\" }} : {open}\n{lines}{close}\n]");
        table(&[(&text, &format!("[\"{expected}\"]"))]);
    }
}

#[test]
fn precedence_and_grouping() {
    table(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("2 * 3 + 4 * 5", "26"),
        ("10 - 4 - 3", "3"),
        ("100 / 10 / 2", "5"),
        ("7 % 4 * 2", "6"),
        ("-2 * 3", "-6"),
        ("-(2 + 3)", "-5"),
        ("2 - -3", "5"),
        ("1 + 1 == 2", "true"),
        ("1 < 2 == true", "true"),
        ("true || false && false", "true"),
        ("(true || false) && false", "false"),
        ("!true || true", "true"),
        ("!(true || true)", "false"),
        ("1 == 1 && 2 != 3", "true"),
        ("1 + 1 > 1 && 3 - 1 <= 2", "true"),
        ("true ? 1 : 2 + 10", "1"),
        ("false ? 1 : 2 + 10", "12"),
        ("1 > 2 ? \"a\" : 2 > 1 ? \"b\" : \"c\"", "\"b\""),
        ("(1 > 2 ? 10 : 20) + 1", "21"),
        ("[1, 2][0] + 1", "2"),
        ("-[1, 2][1]", "-2"),
        ("!{ a = false }.a", "true"),
    ]);
}

#[test]
fn conditionals_find_a_common_type() {
    table(&[
        ("true ? 1 : \"a\"", "\"1\""),
        ("false ? 1 : \"a\"", "\"a\""),
        ("true ? null : 1", "null"),
        ("true ? [] : [\"a\"]", "[]"),
        ("true ? { a = 1 } : { a = \"x\" }", r#"{"a":"1"}"#),
        ("can(true ? [1] : { a = 1 })", "false"),
        ("can(1 ? 2 : 3)", "false"),
        ("\"true\" ? 1 : 2", "1"),
        // The side that is not chosen is looked at, but what is wrong in a value of it is not met.
        ("can(null ? 1 : 2)", "false"),
    ]);
}

#[test]
fn for_expressions() {
    table(&[
        ("[for v in [1, 2, 3] : v * 2]", "[2,4,6]"),
        ("[for i, v in [\"a\", \"b\"] : \"${i}${v}\"]", r#"["0a","1b"]"#),
        ("[for k, v in { b = 2, a = 1 } : \"${k}${v}\"]", r#"["a1","b2"]"#),
        ("[for v in { b = 2, a = 1 } : v]", "[1,2]"),
        ("[for v in [1, 2, 3, 4] : v if v % 2 == 0]", "[2,4]"),
        ("[for v in [] : v]", "[]"),
        (
            "{ for v in [\"a\", \"b\"] : v => upper(v) }",
            r#"{"a":"A","b":"B"}"#,
        ),
        (
            "{ for k, v in { a = 1, b = 2 } : v => k }",
            r#"{"1":"a","2":"b"}"#,
        ),
        (
            "{ for s in [\"one\", \"two\", \"three\"] : substr(s, 0, 1) => s... }",
            r#"{"o":["one"],"t":["two","three"]}"#,
        ),
        (
            "{ for s in [\"a\", \"b\", \"ab\"] : length(s) => s... if s != \"b\" }",
            r#"{"1":["a"],"2":["ab"]}"#,
        ),
        (
            "[for a in [1, 2] : [for b in [10, 20] : a + b]]",
            "[[11,21],[12,22]]",
        ),
        ("[for a in [1] : [for a in [2] : a]]", "[[2]]"),
        ("[for v in toset([\"b\", \"a\"]) : v]", r#"["a","b"]"#),
        ("can({ for v in [1, 1] : v => v })", "false"),
        ("can([for v in \"text\" : v])", "false"),
        ("can([for v in null : v])", "false"),
        ("can([for v in [1] : v if null])", "false"),
        ("can({ for v in [null] : v => 1 })", "false"),
    ]);
}

#[test]
fn splats() {
    table(&[
        ("[{ a = 1 }, { a = 2 }][*].a", "[1,2]"),
        ("[{ a = 1 }, { a = 2 }].*.a", "[1,2]"),
        ("[{ a = [1] }, { a = [2] }][*].a[0]", "[1,2]"),
        // Only the full one takes the index with each item; the attribute one takes it of the list.
        ("[{ a = [1] }, { a = [2] }].*.a[0]", "[1]"),
        ("[[{ a = 1 }], [{ a = 2 }]][*][0].a", "[1,2]"),
        ("{ a = 1 }[*].a", "[1]"),
        ("\"x\"[*]", r#"["x"]"#),
        ("null[*]", "[]"),
        ("[][*].a", "[]"),
        ("[[1, 2], [3]][*]", "[[1,2],[3]]"),
        ("[{ a = { b = 1 } }][*].a.b", "[1]"),
        ("toset([\"b\", \"a\"])[*]", r#"["a","b"]"#),
        ("can([{ a = 1 }, {}][*].a)", "false"),
    ]);
}

#[test]
fn indexes_and_attributes() {
    table(&[
        ("[\"a\", \"b\"][1]", "\"b\""),
        ("[\"a\", \"b\"][\"1\"]", "\"b\""),
        ("[\"a\", \"b\"].1", "\"b\""),
        ("[[\"a\"], [\"b\"]].1.0", "\"b\""),
        ("{ a = 1 }[\"a\"]", "1"),
        ("{ a = { b = 2 } }.a.b", "2"),
        ("{ a = { b = 2 } }[\"a\"][\"b\"]", "2"),
        ("{ \"a b\" = 1 }[\"a b\"]", "1"),
        ("{ 1 = \"x\" }[1]", "\"x\""),
        ("{ (upper(\"a\")) = 1 }", r#"{"A":1}"#),
        ("{ \"${1 + 1}\" = 1 }", r#"{"2":1}"#),
        ("{ a : 1, b : 2 }", r#"{"a":1,"b":2}"#),
        ("{\n  a = 1\n  b = 2\n}", r#"{"a":1,"b":2}"#),
        ("[\n  1,\n  2,\n]", "[1,2]"),
        ("can([1][1])", "false"),
        ("can([1][-1])", "false"),
        ("can([1][0.5])", "false"),
        ("can({ a = 1 }.b)", "false"),
        ("can(\"text\".length)", "false"),
        ("can(toset([\"a\"])[0])", "false"),
    ]);
}

#[test]
fn templates() {
    table(&[
        ("\"a${1 + 1}b\"", "\"a2b\""),
        ("\"${1}\"", "1"),
        ("\"${[1]}\"", "[1]"),
        ("\" ${1}\"", "\" 1\""),
        ("\"${true}${null == null}\"", "\"truetrue\""),
        ("\"$${a}\"", "\"${a}\""),
        ("\"%%{a}\"", "\"%{a}\""),
        ("\"$a %b $ %\"", "\"$a %b $ %\""),
        ("\"a ${~ 1 ~} b\"", "\"a1b\""),
        ("\"a ${~ 1} b\"", "\"a1 b\""),
        ("\"a ${1 ~} b\"", "\"a 1b\""),
        ("\"%{ if true }yes%{ endif }\"", "\"yes\""),
        ("\"%{ if false }yes%{ endif }\"", "\"\""),
        ("\"%{ if 1 > 2 }yes%{ else }no%{ endif }\"", "\"no\""),
        ("\"a %{~ if true ~} b %{~ endif ~} c\"", "\"abc\""),
        ("\"%{ for x in [1, 2] }${x},%{ endfor }\"", "\"1,2,\""),
        (
            "\"%{ for i, x in [\"a\", \"b\"] }${i}${x}%{ endfor }\"",
            "\"0a1b\"",
        ),
        (
            "\"%{ for x in [1, 2, 3] }%{ if x != 2 }${x}%{ endif }%{ endfor }\"",
            "\"13\"",
        ),
        ("\"%{ for k, v in { a = 1 } }${k}=${v}%{ endfor }\"", "\"a=1\""),
        ("\"${\"inner ${\"most\"}\"}\"", "\"inner most\""),
        ("can(\"a${[1]}\")", "false"),
        ("can(\"a${null}\")", "false"),
        ("can(\"%{ if 1 }x%{ endif }\")", "false"),
    ]);
}

#[test]
fn escapes() {
    table(&[
        (r#""\n\t\"\\""#, r#""\n\t\"\\""#),
        (r#""\u00e9""#, "\"é\""),
        (r#""\U0001F600""#, "\"😀\""),
        ("length(\"\\u0065\\u0301\")", "1"),
        ("\"\" == \"\"", "true"),
        ("length(\"\")", "0"),
    ]);
}

#[test]
fn numbers() {
    table(&[
        ("0", "0"),
        ("12.50", "12.5"),
        ("1e3", "1000"),
        ("1.5e3", "1500"),
        ("1E-2", "0.01"),
        ("100e-2", "1"),
        ("0.1 + 0.2", "0.3"),
        ("9007199254740993", "9007199254740993"),
        ("9007199254740992 + 1", "9007199254740993"),
        (
            "123456789012345678901234567890 * 10",
            "1234567890123456789012345678900",
        ),
        ("1 / 3 * 3 == 1 || 1 / 3 < 0.34", "true"),
        ("1.0 == 1", "true"),
        ("\"5\" * 2", "10"),
        ("can(\"five\" * 2)", "false"),
        ("can(1 / 0)", "false"),
        ("can(1 % 0)", "false"),
        ("can(1 < \"a\")", "false"),
    ]);
}

#[test]
fn comments_and_line_ends() {
    table(&[
        ("1 + /* two */ 2", "3"),
        ("[\n  1, # one\n  2, // two\n  /* none */\n]", "[1,2]"),
        (
            "{\n  # first\n  a = 1 // same line\n\n  b = 2\n}",
            r#"{"a":1,"b":2}"#,
        ),
        ("(\n  1\n  +\n  2\n)", "3"),
        ("[\r\n  1,\r\n]", "[1]"),
    ]);
}

#[test]
fn calls() {
    table(&[
        ("max([3, 1, 2]...)", "3"),
        ("max(9, [3, 1, 2]...)", "9"),
        ("join(\",\", [\"a\"], [\"b\"])", "\"a,b\""),
        ("format([\"%s-%s\", \"a\", \"b\"]...)", "\"a-b\""),
        ("max(toset([1, 5])...)", "5"),
        ("core::upper(\"a\")", "\"A\""),
        ("upper(\n  \"a\",\n)", "\"A\""),
        ("upper(lower(\"A\"))", "\"A\""),
        ("split(\",\", \"a,b\")[1]", "\"b\""),
        ("can(max([]...))", "false"),
        ("can(max(null...))", "false"),
        ("can(upper())", "false"),
        ("can(upper(\"a\", \"b\"))", "false"),
    ]);
}

/// What can stand in a file after the blocks that every configuration needs.
const STRUCTURES: &[&str] = &[
    // Attributes.
    "locals {\n  a = \"a value\"\n  b = \"b value\"\n}",
    "locals {\n  a=1\n\n\n  b   =   2\n}",
    "locals {\n  a = [\n    1,\n    2,\n  ]\n}",
    "locals {\n  a-b = 1\n  _c  = 2\n}",
    "locals {\n  a = <<EOT\n}\nEOT\n}",
    // Blocks.
    "locals {}",
    "locals {\n}",
    "locals { a = \"foo\" }",
    "locals { a = [1, 2] }",
    "locals{\n  a = 1\n}",
    "group web {\n  policy = \"affinity\"\n}",
    "group\"web\"{\n  policy = \"affinity\"\n}",
    "locals {\n  a = 1\n}\nlocals {\n  b = 2\n}",
    "check \"x\" {\n  assert {\n    condition     = true\n    error_message = \"no\"\n  }\n}",
    // Comments, line ends, the end of the file.
    "# one\n// two\n/* three\n   lines */ locals {} # four",
    "locals {\r\n  a = 1\r\n}\r\n",
    "locals {\n  a = 1 # a comment at the end\n}",
    "\t\n\n",
    // Names of any script.
    "locals {\n  ä = 1\n}",
];

/// What cannot.
const NO_STRUCTURES: &[&str] = &[
    // One attribute a line, and one block on a line holds one at most.
    "locals {\n  a = \"a value\" b = \"b value\"\n}",
    "locals {\n  a = \"a value\", b = \"b value\"\n}",
    "locals {\n  a = \"a value\",\n}",
    "locals {\n  a =\n  1\n}",
    "locals {\n  a\n  = 1\n}",
    "locals { a = 1, b = 2 }",
    "locals { a = 1 b = 2 }",
    "locals { a = 1\n}",
    "locals { a = 1\n  b = 2 }",
    "locals {\n  a = 1 }",
    "check \"x\" { assert { condition = true } }",
    // A block begins on the line of its name, and ends with its line.
    "locals\n{\n}",
    "group\n\"web\" {\n  policy = \"affinity\"\n}",
    "locals {} locals {}",
    "locals {\n}}",
    "locals {",
    // Names.
    "locals {\n  1a = 1\n}",
    // Letters of all languages, but not in labels that become parts of addresses and of the store's keys.
    "group \"ä\" {\n  policy = \"affinity\"\n}",
    "locals {\n  \"a\" = 1\n}",
    "group \"w${1}\" {\n  policy = \"affinity\"\n}",
    // Twice, or where nothing expects it.
    "locals {\n  a = 1\n  a = 2\n}",
    "group \"web\" {\n  policy = \"affinity\"\n  policy = \"affinity\"\n}",
    "surprise = true",
    "group \"web\" {\n  policy   = \"affinity\"\n  surprise = true\n}",
    "surprise {}",
    "group \"web\" \"more\" {\n  policy = \"affinity\"\n}",
    "group {\n  policy = \"affinity\"\n}",
];

#[test]
fn files_are_made_of_attributes_and_blocks() {
    for text in STRUCTURES {
        let outcome = validate(&format!("{BASE}{text}"));
        assert!(outcome.evaluated.is_some(), "{text}: {}", outcome.rendered);
    }
    for text in NO_STRUCTURES {
        let outcome = validate(&format!("{BASE}{text}"));
        assert!(outcome.evaluated.is_none(), "{text}");
        assert!(
            outcome.rendered.contains("main.hcl:"),
            "{text}: {}",
            outcome.rendered
        );
    }
    // A byte order mark is no part of a text.
    let outcome = validate(&format!("\u{feff}{BASE}"));
    assert!(outcome.evaluated.is_some(), "{}", outcome.rendered);
}
