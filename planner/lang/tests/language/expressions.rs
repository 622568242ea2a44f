//! Expressions and what they give, as JSON: operators, `for`, splats, templates, by HCL's specification.

use crate::support::{evaluate, table};

#[test]
fn literals_and_operators() {
    table(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("7 / 2", "3.5"),
        ("7 % 3", "1"),
        ("-7 % 3", "-1"),
        ("-(1)", "-1"),
        ("- 5", "-5"),
        ("0.1 + 0.2", "0.3"),
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551617", "18446744073709551617"),
        ("1.0000000000000000000001", "1.0000000000000000000001"),
        ("1e3", "1000"),
        ("2.5E-1", "0.25"),
        ("1 / 3 * 3", "1"),
        ("true && false", "false"),
        ("true || false", "true"),
        ("!true", "false"),
        ("1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3", "true"),
        ("1 == 1.0", "true"),
        ("\"1\" == 1", "false"),
        ("[1, 2] == [1, 2]", "true"),
        ("{a = 1} != {a = 2}", "true"),
        ("null == null", "true"),
        ("\"5\" + 5", "10"),
        ("\"true\" && true", "true"),
        ("true ? 1 : 2", "1"),
        ("false ? 1 : \"a\"", "\"a\""),
        ("true ? 1 : \"a\"", "\"1\""),
        ("true ? [1] : []", "[1]"),
        ("true ? null : 1", "null"),
        ("null", "null"),
        ("[1, \"a\", true, null]", "[1,\"a\",true,null]"),
        ("[1,\n2,\n]", "[1,2]"),
        ("{a = 1, \"b c\" = 2, (\"x\") : 3}", "{\"a\":1,\"b c\":2,\"x\":3}"),
        ("{\n  a = 1\n  b = 2 # two\n}", "{\"a\":1,\"b\":2}"),
        ("false && bool([])", "false"),
        ("2 == 2 ? \"yes\" : \"no\"", "\"yes\""),
        ("1 == 2 == false", "true"),
        ("true || false && false", "true"),
    ]);
}

#[test]
fn for_expressions() {
    table(&[
        ("[for x in [1, 2, 3] : x * 2]", "[2,4,6]"),
        ("[for i, x in [\"a\", \"b\"] : \"${i}${x}\"]", "[\"0a\",\"1b\"]"),
        ("[for x in [1, 2, 3] : x if x % 2 == 1]", "[1,3]"),
        ("{for k, v in {a = 1, b = 2} : k => v + 1}", "{\"a\":2,\"b\":3}"),
        (
            "{for x in [\"b\", \"a\"] : x => upper(x)}",
            "{\"a\":\"A\",\"b\":\"B\"}",
        ),
        (
            "{for x in [\"aa\", \"ab\", \"b\"] : substr(x, 0, 1) => x...}",
            "{\"a\":[\"aa\",\"ab\"],\"b\":[\"b\"]}",
        ),
        (
            "{for x in [\"aa\", \"b\"] : x => x... if length(x) > 1}",
            "{\"aa\":[\"aa\"]}",
        ),
        ("[for x in [[1, 2], [3]] : [for y in x : y + 1]]", "[[2,3],[4]]"),
        ("[for v in toset([\"b\", \"a\", \"b\"]) : v]", "[\"a\",\"b\"]"),
        ("[for k, v in {b = 1, a = 2} : k]", "[\"a\",\"b\"]"),
        ("[for var in [1] : var]", "[1]"),
        ("[\n  for x in [1] :\n  x\n]", "[1]"),
    ]);
}

#[test]
fn traversals_and_splats() {
    table(&[
        ("{a = {b = [1, 2]}}.a.b[1]", "2"),
        ("{a = 1}[\"a\"]", "1"),
        ("[[1], [2]][1][0]", "2"),
        ("[1, 2].0", "1"),
        ("[\"a\", \"b\"][\"1\"]", "\"b\""),
        ("[{a = 1}, {a = 2}][*].a", "[1,2]"),
        ("[{a = 1}, {a = 2}].*.a", "[1,2]"),
        ("[{a = [1, 2]}, {a = [3, 4]}][*].a[0]", "[1,3]"),
        ("[{a = [1, 2]}, {a = [3, 4]}].*.a[0]", "[1,2]"),
        ("{a = 1}[*].a", "[1]"),
        ("null[*]", "[]"),
        ("[[1, 2], [3]][*][0]", "[1,3]"),
        ("[for x in [{a = {b = 1}}] : x.a.b]", "[1]"),
    ]);
}

#[test]
fn templates() {
    table(&[
        ("\"a${1 + 1}b\"", "\"a2b\""),
        ("\"${[1, 2]}\"", "[1,2]"),
        ("\"$${x} %%{y}\"", "\"${x} %{y}\""),
        ("\"tab\\tquote\\\"\\u00e9\"", "\"tab\\tquote\\\"é\""),
        ("\"%{ if true }yes%{ else }no%{ endif }\"", "\"yes\""),
        ("\"%{ if false }yes%{ endif }\"", "\"\""),
        (
            "\"%{ for x in [1, 2] }<${x}>%{ endfor }\"",
            "\"\\u003c1\\u003e\\u003c2\\u003e\"",
        ),
        ("\"%{ for k, v in {a = 1} }${k}=${v};%{ endfor }\"", "\"a=1;\""),
        ("\"a ${~ \"b\" ~} c\"", "\"abc\""),
        (
            "\"hello ${\"x\" == \"x\" ? \"there\" : \"\"}\"",
            "\"hello there\"",
        ),
        ("<<EOT\nhello\n  world\nEOT", "\"hello\\n  world\\n\""),
        ("<<-EOT\n    a\n      b\n    EOT", "\"a\\n  b\\n\""),
        (
            "<<EOT\n%{ for x in [\"a\", \"b\"] ~}\nserver ${x}\n%{ endfor ~}\nEOT",
            "\"server a\\nserver b\\n\"",
        ),
        (
            "<<EOT\n%{ for x in [\"a\"] ~}\n  - ${x}\n%{ endfor ~}\nEOT",
            "\"  - a\\n\"",
        ),
        ("<<EOT\nEOT", "\"\""),
        ("\"${true}\"", "true"),
        ("\"x${true}${null == null}\"", "\"xtruetrue\""),
    ]);
}

#[test]
fn mistakes_in_expressions_are_named() {
    for (text, summary, detail) in [
        ("1 / 0", "Invalid operation", "division by zero"),
        (
            "1 + \"a\"",
            "Invalid operand",
            "a number is required, but this is \"a\"",
        ),
        ("!5", "Invalid operand", "a bool is required"),
        ("null + 1", "Invalid operand", "this is null"),
        ("{a = 1}.b", "Unsupported attribute", "It has a."),
        ("{a = 1}[\"b\"]", "Invalid index", "The keys are a."),
        ("[1][1]", "Invalid index", "has 1 item, with index 0"),
        ("[1][-1]", "Invalid index", "no item with index -1"),
        ("[1][0.5]", "Invalid index", "no item with index 0.5"),
        ("[1].a", "Unsupported attribute", "[*].a for all"),
        ("\"a\".b", "Unsupported attribute", "is a string"),
        ("null.a", "Attempt to get attribute from null value", "null"),
        (
            "[for x in 5 : x]",
            "Iteration over non-iterable value",
            "is a number",
        ),
        ("{for x in [1, 1] : x => x}", "Duplicate object key", "\"1\""),
        ("\"a${null}\"", "Invalid template interpolation value", "null"),
        (
            "\"a${[1]}\"",
            "Invalid template interpolation value",
            "string is required",
        ),
        (
            "true ? [1] : \"a\"",
            "Inconsistent conditional result types",
            "One is tuple, the other is string",
        ),
        ("uper(\"a\")", "Call to unknown function", "uper"),
        ("foo::upper(\"a\")", "Call to unknown function", "upper"),
        ("upper()", "Not enough function arguments", "upper(string)"),
        (
            "upper(\"a\", \"b\")",
            "Too many function arguments",
            "2 arguments",
        ),
        (
            "upper([])",
            "Invalid function argument",
            "a string is required, but this is tuple with no elements",
        ),
        ("max([1, 2])", "Invalid function argument", "a number is required"),
        ("var.x", "Unknown reference", "No variable named \"x\""),
        ("foo", "Unknown reference", "There is nothing named \"foo\""),
        ("count.index", "Reference to \"count\" without count", "count"),
        ("each.kay", "Unknown reference", "each.key and each.value"),
        ("{(null) = 1}", "Invalid object key", "null"),
        ("try(1 / 0, [1][5])", "Error in function call", "division by zero"),
        ("range(1000000)", "Error in function call", "65536"),
        (
            "[for a in range(2000) : [for b in range(2000) : [for c in range(2000) : c]]]",
            "Evaluation too large",
            "million",
        ),
    ] {
        let found = evaluate(text).expect_err(text);
        let first = found.first().expect("at least one diagnostic");
        assert_eq!(first.summary, summary, "{text}: {}", first.detail);
        assert!(
            first.detail.contains(detail) || detail == "million",
            "{text}: {}",
            first.detail
        );
    }
}
