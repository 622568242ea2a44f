//! Bad input of any kind: nothing panics, overflows the stack or takes all memory.

use crate::support::{BASE, evaluate as evaluate_expression, inputs, new_store, plan, plan_with, validate};
use drover_lang::config::{Identities, InputFile, NoModules, VariableSource, evaluate, parse};
use drover_lang::diagnostic::Style;
use proptest::prelude::*;

fn survives(bytes: Vec<u8>) {
    let files = [InputFile {
        path: "main.hcl".to_owned(),
        bytes,
    }];
    let (config, found) = parse(&files, &NoModules);
    let shown = found.render(config.sources(), Style::Colour);
    assert_eq!(shown.is_empty(), found.is_empty());
    let mut inputs = inputs(&[], Identities::Unread);
    inputs.limits.steps = 200_000;
    let (_, found, sources) = evaluate(&config, &inputs);
    let shown = found.render(&sources, Style::Plain);
    assert_eq!(shown.is_empty(), found.to_json(&sources).is_empty());
}

/// Pieces that files are made of, so that random sequences get past the parser more often than random bytes.
const PIECES: &[&str] = &[
    "drover",
    "server",
    "flavor",
    "image",
    "group",
    "host",
    "variable",
    "locals",
    "output",
    "\"web\"",
    "\"small\"",
    " {\n",
    "\n}\n",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    " = ",
    ",",
    ".",
    "...",
    ":",
    "=>",
    "?",
    "\n",
    " ",
    "count",
    "for_each",
    "each.key",
    "count.index",
    "var.a",
    "local.a",
    "server.web",
    "[*]",
    ".*",
    ".id",
    "[0]",
    "for x in ",
    "for k, v in ",
    " if ",
    "1",
    "0",
    "-1",
    "1e308",
    "0.5",
    "99999999999999999999",
    "true",
    "null",
    "\"a${1}\"",
    "\"${",
    "}\"",
    "\"%{ if true }\"",
    "%{ endif }",
    "<<EOT\n",
    "<<-EOT\n",
    "EOT\n",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "==",
    "&&",
    "||",
    "<",
    "upper(",
    "try(",
    "range(",
    "format(\"%s\"",
    "setproduct(",
    "jsondecode(",
    "é",
    "👾",
    "\u{0}",
    "#c\n",
    "/* c */",
    "flavor = flavor.small\n",
    "image = image.debian\n",
    "type = ",
    "object({",
    "optional(",
    "list(",
    "default = ",
    "value = ",
    "\\u",
    "\"",
];

/// Parts of expressions that fit together.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1".to_owned()),
        Just("\"a\"".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("x".to_owned()),
        Just("[1, \"b\", null]".to_owned()),
        Just("{ a = 1, b = [2] }".to_owned()),
        Just("0.1".to_owned()),
        Just("-3".to_owned()),
        Just("1e300".to_owned()),
        Just("sensitive(\"s\")".to_owned()),
    ];
    leaf.prop_recursive(6, 64, 4, |inner| {
        let function = prop::sample::select(vec![
            "length",
            "keys",
            "merge",
            "concat",
            "contains",
            "element",
            "flatten",
            "distinct",
            "sort",
            "range",
            "zipmap",
            "setproduct",
            "toset",
            "tolist",
            "tomap",
            "tostring",
            "tonumber",
            "upper",
            "title",
            "trim",
            "replace",
            "regex",
            "regexall",
            "split",
            "join",
            "format",
            "formatlist",
            "substr",
            "strrev",
            "min",
            "abs",
            "ceil",
            "parseint",
            "pow",
            "log",
            "sum",
            "try",
            "can",
            "coalesce",
            "compact",
            "jsonencode",
            "jsondecode",
            "base64decode",
            "sha256",
            "cidrhost",
            "cidrsubnet",
            "cidrsubnets",
            "slice",
            "chunklist",
            "indent",
            "lookup",
            "index",
            "one",
            "transpose",
            "setunion",
            "file",
            "fileset",
            "templatefile",
        ]);
        prop_oneof![
            (
                inner.clone(),
                inner.clone(),
                prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "<", "&&", "||"])
            )
                .prop_map(|(a, b, operator)| format!("({a} {operator} {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[for x in {a} : {b}]")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("{{for k, x in {a} : {b} => {c}...}}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            inner.clone().prop_map(|a| format!("({a})[*].a")),
            inner
                .clone()
                .prop_map(|a| format!("\"p${{{a}}}s%{{ for y in {a} }}${{y}}%{{ endfor }}\"")),
            (function, prop::collection::vec(inner, 0..4))
                .prop_map(|(name, arguments)| format!("{name}({})", arguments.join(", "))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(bytes);
    }

    #[test]
    fn random_tokens_never_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        survives(pieces.concat().into_bytes());
    }

    #[test]
    fn random_tokens_in_a_server_never_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12)) {
        survives(format!("{BASE}\nserver \"web\" {{\n  flavor = flavor.small\n  name = {}\n}}\n", pieces.concat()).into_bytes());
    }

    #[test]
    fn random_expressions_never_panic(text in expression()) {
        survives(format!("{BASE}\nlocals {{\n  y = {text}\n}}\noutput \"o\" {{\n  value = local.y\n}}\n").into_bytes());
    }

    #[test]
    fn random_values_of_variables_never_panic(text in "[a-z=\\[\\]{}\",0-9$ ]{0,30}") {
        let config = format!("{BASE}\nvariable \"a\" {{\n  type = list(object({{ n = optional(number, 1) }}))\n  default = []\n}}\n");
        plan_with(&config, &[VariableSource::Argument { text: format!("a={text}") }, VariableSource::Argument { text }]);
    }

    #[test]
    fn a_changed_byte_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = format!("{BASE}\nserver \"web\" {{\n  count = 2\n  flavor = flavor.small\n  image = image.debian\n}}\n").into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        survives(bytes);
    }
}

/// Threads of tests have 2 MiB of stack, less than the main thread of the command.
#[test]
fn deep_nesting_is_an_error() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{a=", "}"),
        ("-", ""),
        ("!", ""),
        ("\"${", "}\""),
        ("upper(", ")"),
        ("true ? 1 : ", ""),
        ("[for x in ", " : x]"),
        ("a[", "]"),
    ] {
        for depth in [60, 63, 64, 65, 1_000, 20_000] {
            let text = format!(
                "locals {{\n  a = {}1{}\n}}\n",
                open.repeat(depth),
                close.repeat(depth)
            );
            survives(text.into_bytes());
        }
    }
    for text in ["a {\n", "a = <<E\n%{ if true }", "\"a\" ", "a.", "a ? "] {
        survives(text.repeat(5_000).into_bytes());
    }
    let chain = |operator: &str, length: usize| {
        format!(
            "locals {{\n  a = 1{}\n}}\n",
            format!("{operator}1").repeat(length)
        )
    };
    for operator in [" + ", " && ", " == ", " ? 1 : "] {
        for length in [100, 127, 128, 129, 5_000] {
            survives(chain(operator, length).into_bytes());
        }
    }
    // Nested operators count together, so that no tree gets deeper than the evaluator follows.
    let mut text = "1".to_owned();
    for _ in 0..62 {
        text = format!("({}{text})", "1 + ".repeat(100));
    }
    let rendered = plan(&format!("{BASE}locals {{\n  a = {text}\n}}\n")).rendered;
    assert!(
        rendered.contains("at most 128 chained binary operators"),
        "{rendered}"
    );
}

#[test]
fn long_chains_of_references_are_followed_without_recursion() {
    let mut text = BASE.to_owned();
    text.push_str("locals {\n  v0 = 1\n");
    for number in 1..20_000 {
        text.push_str(&format!("  v{number} = local.v{} + 1\n", number - 1));
    }
    text.push_str("}\noutput \"last\" {\n  value = local.v19999\n}\n");
    let outcome = plan(&text);
    assert_eq!(outcome.rendered, "");
    assert_eq!(
        outcome.evaluated.expect("no errors").outputs["last"].to_json(),
        Some(20_000.into())
    );
    let circle = text.replace("v0 = 1\n", "v0 = local.v19999\n");
    let rendered = plan(&circle).rendered;
    assert!(
        rendered.contains("Cycle of references") && rendered.len() < 4_000,
        "{rendered}"
    );
}

#[test]
fn values_that_multiply_are_stopped() {
    let doubling = |first: &str, next: &dyn Fn(usize) -> String| {
        let mut text = format!("{BASE}locals {{\n  a0 = {first}\n");
        for number in 1..60 {
            text.push_str(&format!("  a{number} = {}\n", next(number - 1)));
        }
        text.push_str("}\noutput \"x\" {\n  value = jsonencode(local.a59)\n}\n");
        plan(&text).rendered
    };
    for rendered in [
        doubling("\"0123456789\"", &|n| {
            format!("\"${{local.a{n}}}${{local.a{n}}}\"")
        }),
        doubling("[1, 2]", &|n| format!("[local.a{n}, local.a{n}]")),
        doubling("[1, 2]", &|n| format!("concat(local.a{n}, local.a{n})")),
        doubling("{ a = 1 }", &|n| format!("{{ a = local.a{n}, b = local.a{n} }}")),
        doubling("[1]", &|n| format!("[local.a{n}]")),
    ] {
        assert!(
            rendered.is_empty()
                || rendered.contains("Evaluation too large")
                || rendered.contains("the result would have more than")
                || rendered.contains("nested too deeply"),
            "{rendered}"
        );
    }
    for text in [
        "setproduct(range(1000), range(1000), range(1000))",
        "format(\"%99999999999d\", 1)",
        "replace(join(\"\", [for x in range(60000) : \"a\"]), \"\", join(\"\", [for x in range(60000) : \"b\"]))",
        "join(join(\"\", [for x in range(60000) : \"aaaa\"]), [for x in range(60000) : \"a\"])",
        "range(0, 1, 0.000000001)",
        "pow(10, 100000)",
        "indent(1000000000, \"a\\nb\")",
        "1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308 * 1e308",
        "[for a in range(60000) : [for b in range(60000) : b]]",
    ] {
        assert!(evaluate_expression(text).is_err(), "{text}");
    }
}

/// The report once went missing where `try` met the limit, and the server with it.
#[test]
fn a_limit_met_within_try_is_reported() {
    for value in [
        "try(jsonencode(local.huge), 1)",
        "false ? jsonencode(local.huge) : 1",
        "can(local.huge)",
    ] {
        let text = format!(
            "{BASE}locals {{\n  huge = try([for a in range(900) : [for b in range(900) : a * b]], 0)\n}}\nserver \"web\" {{\n  flavor \
             = flavor.small\n  image = image.debian\n  labels = {{ a = {value} }}\n}}\n"
        );
        let mut inputs = inputs(&[], new_store());
        inputs.limits.steps = 50_000;
        let outcome = crate::support::load(&[("main.hcl", &text)], &inputs);
        assert!(outcome.evaluated.is_none());
        assert!(
            outcome.rendered.contains("Evaluation too large"),
            "{}",
            outcome.rendered
        );
    }
}

#[test]
fn thousands_of_mistakes_are_cut() {
    let mut text = BASE.to_owned();
    for number in 0..3_000 {
        text.push_str(&format!(
            "server \"s{number}\" {{\n  flavor = flavor.nope{number}\n  image = image.debian\n}}\n"
        ));
    }
    let rendered = validate(&text).rendered;
    assert!(
        rendered.contains("More was found; only the first 1000 are shown."),
        "{}",
        &rendered[rendered.len() - 200..]
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let text = format!(
        "{BASE}server \"web\" {{\n  count = 50\n  flavor = flavor.smal\n  image = image.debian\n  name = \"a b\"\n}}\n"
    );
    let once = || crate::support::load(&[("main.hcl", &text)], &inputs(&[], new_store())).rendered;
    assert_eq!(once(), once());
}
