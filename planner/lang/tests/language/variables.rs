//! Variables: type constraints with nested defaults, where values come from and which one wins, validations.

use crate::support::{BASE, Outcome, plan_with};
use drover_lang::config::VariableSource;
use drover_lang::value::encode_json;

fn argument(text: &str) -> VariableSource {
    VariableSource::Argument {
        text: text.to_owned(),
    }
}

fn environment(name: &str, text: &str) -> VariableSource {
    VariableSource::Environment {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

fn file(path: &str, text: &str) -> VariableSource {
    VariableSource::File {
        path: path.to_owned(),
        bytes: text.as_bytes().to_vec(),
    }
}

/// What `var.x` is, for a declaration and what is given.
fn load(arguments: &str, given: &[VariableSource]) -> Outcome {
    let text = format!("{BASE}\nvariable \"x\" {{\n{arguments}\n}}\noutput \"x\" {{\n  value = var.x\n}}\n");
    plan_with(&text, given)
}

fn value(arguments: &str, given: &[VariableSource]) -> String {
    let outcome = load(arguments, given);
    let evaluated = outcome
        .evaluated
        .unwrap_or_else(|| panic!("{}", outcome.rendered));
    encode_json(&evaluated.outputs["x"].value).expect("known")
}

#[test]
fn types_convert_and_fill_in_nested_defaults() {
    let servers = "type = list(object({ a = string, b = optional(number, 3), c = optional(object({ d = optional(string, \"e\"), f = optional(bool) }), {}) }))";
    for (ty, given, expected) in [
        ("type = string", "5", "\"5\""),
        ("type = number", "5", "5"),
        ("type = bool", "true", "true"),
        ("type = any", "[1, \"a\"]", "[1,\"a\"]"),
        ("", "[1]", "\"[1]\""),
        ("type = list(string)", "[1, true]", "[\"1\",\"true\"]"),
        ("type = set(number)", "[2, \"1\", 2]", "[1,2]"),
        ("type = map(number)", "{ a = \"1\" }", "{\"a\":1}"),
        (
            "type = map(any)",
            "{ a = 1, b = \"c\" }",
            "{\"a\":\"1\",\"b\":\"c\"}",
        ),
        ("type = tuple([string, number])", "[1, \"2\"]", "[\"1\",2]"),
        (
            "type = object({ a = string })",
            "{ a = 1, more = 2 }",
            "{\"a\":\"1\"}",
        ),
        (
            servers,
            "[{ a = \"x\" }, { a = \"y\", b = \"4\", c = { d = \"z\" } }, { a = \"w\", b = null, c = null }]",
            "[{\"a\":\"x\",\"b\":3,\"c\":{\"d\":\"e\",\"f\":null}},{\"a\":\"y\",\"b\":4,\"c\":{\"d\":\"z\",\"f\":null}},{\"a\":\"w\",\"b\":3,\"c\":{\"d\":\"e\",\"f\":null}}]",
        ),
        (
            "type = map(list(object({ n = optional(number, 1) })))",
            "{ k = [{}, { n = 2 }] }",
            "{\"k\":[{\"n\":1},{\"n\":2}]}",
        ),
    ] {
        assert_eq!(
            value(ty, &[argument(&format!("x={given}"))]),
            expected,
            "{ty} {given}"
        );
    }
    let default = format!("{servers}\n  default = [{{ a = \"x\" }}]");
    assert_eq!(
        value(&default, &[]),
        "[{\"a\":\"x\",\"b\":3,\"c\":{\"d\":\"e\",\"f\":null}}]"
    );
}

#[test]
fn values_of_a_wrong_type_name_the_place_within() {
    for (ty, given, says) in [
        (
            "list(number)",
            "[1, \"a\"]",
            "[1]: a number is required, but this is \"a\"",
        ),
        (
            "object({ a = object({ b = bool }) })",
            "{ a = { b = 1 } }",
            ".a.b: a bool is required, but this is 1",
        ),
        ("object({ a = string })", "{}", "attribute \"a\" is required"),
        ("tuple([string])", "[]", "1 items are required, but there are 0"),
        (
            "set(list(string))",
            "[\"a\"]",
            "[0]: a list of string is required, but this is \"a\"",
        ),
    ] {
        let outcome = load(&format!("type = {ty}"), &[argument(&format!("x={given}"))]);
        assert!(outcome.evaluated.is_none(), "{ty} took {given}");
        assert!(outcome.json[0].detail.contains(says), "{ty}: {:#?}", outcome.json);
    }
}

#[test]
fn a_later_source_wins() {
    let given = [
        environment("x", "environment"),
        file("drover.vars.hcl", "x = \"vars\"\n"),
        file("a.auto.vars.hcl", "x = \"auto a\"\n"),
        file("b.auto.vars.hcl", "x = \"auto b\"\n"),
        file("one.hcl", "x = \"file\"\n"),
        argument("x=argument"),
        file("two.hcl", "x = \"file again\"\n"),
    ];
    let results = [
        "environment",
        "vars",
        "auto a",
        "auto b",
        "file",
        "argument",
        "file again",
    ];
    let arguments = "type = string\n  default = \"default\"";
    assert_eq!(value(arguments, &[]), "\"default\"");
    for (last, expected) in results.iter().enumerate() {
        assert_eq!(value(arguments, &given[..=last]), format!("{expected:?}"));
    }
}

#[test]
fn an_undeclared_name_is_an_error_a_warning_or_nothing_by_where_it_stands() {
    let outcome = load("default = 1", &[argument("y=1")]);
    assert!(outcome.evaluated.is_none());
    assert_eq!(outcome.json[0].summary, "Value for undeclared variable");
    let outcome = load("default = 1", &[file("a.auto.vars.hcl", "y = 1\n")]);
    assert!(outcome.evaluated.is_some());
    assert!(
        outcome
            .rendered
            .starts_with("warning: Value for undeclared variable"),
        "{}",
        outcome.rendered
    );
    let outcome = load("default = 1", &[environment("y", "1")]);
    assert!(outcome.evaluated.is_some());
    assert_eq!(outcome.rendered, "");
}

#[test]
fn null_stands_for_the_default_where_it_is_not_allowed() {
    let given = [file("drover.vars.hcl", "x = null\n")];
    assert_eq!(value("type = string\n  default = \"d\"", &given), "null");
    assert_eq!(
        value("type = string\n  default = \"d\"\n  nullable = false", &given),
        "\"d\""
    );
    let outcome = load("type = string\n  nullable = false", &given);
    assert!(outcome.evaluated.is_none(), "null was accepted");
}

const VALIDATED: &str = r#"
  type = number
  validation {
    condition     = var.x >= 1
    error_message = "x must be at least 1."
  }
  validation {
    condition     = var.x < var.limit
    error_message = "x must be less than the limit of ${var.limit}."
  }
}
variable "limit" {
  type    = number
  default = 10
"#;

#[test]
fn every_validation_is_checked_and_may_refer_to_other_variables() {
    assert_eq!(value(VALIDATED, &[argument("x=5")]), "5");
    let outcome = load(VALIDATED, &[argument("x=12")]);
    assert!(outcome.evaluated.is_none());
    insta::assert_snapshot!(outcome.rendered);
    let outcome = load(VALIDATED, &[argument("x=0"), argument("limit=0")]);
    assert_eq!(outcome.json.len(), 2, "{}", outcome.rendered);
}

#[test]
fn sensitive_and_ephemeral_values_are_in_no_message() {
    for mark in ["sensitive", "ephemeral"] {
        let rules = format!(
            "  type = number\n  {mark} = true\n  validation {{\n    condition = var.x < 10\n    error_message = \"too large: ${{var.x}}\"\n  }}\n"
        );
        for given in ["x=4711", "x=hunter2"] {
            let outcome = load(&rules, &[argument(given)]);
            assert!(outcome.evaluated.is_none());
            let shown = format!("{}{:?}", outcome.rendered, outcome.json);
            assert!(
                !shown.contains("4711") && !shown.contains("hunter2"),
                "{mark} {given}: {shown}"
            );
        }
    }
}

#[test]
fn names_are_of_any_script_where_they_stay_within_the_files() {
    let text = format!(
        r#"{BASE}
variable "größe" {{
  type    = object({{ länge = number, 名 = optional(string, "x") }})
  default = {{ länge = 3 }}
}}
locals {{
  имя-2  = "${{var.größe.länge}}${{var.größe["名"]}}"
  listen = [for é in [1, 2] : é + 1]
}}
output "résumé" {{
  value = {{ ßu = local.имя-2, 第 = local.listen }}
}}
check "prüfung" {{
  assert {{
    condition     = var.größe.länge > 4
    error_message = "zu klein: ${{var.größe.länge}}"
  }}
}}
"#
    );
    let given = [argument("größe={ länge = 4 }")];
    let outcome = plan_with(&text, &given);
    let evaluated = outcome
        .evaluated
        .unwrap_or_else(|| panic!("{}", outcome.rendered));
    assert_eq!(
        encode_json(&evaluated.outputs["résumé"].value).expect("known"),
        r#"{"ßu":"4x","第":[2,3]}"#
    );
    assert!(outcome.rendered.contains("zu klein: 4"), "{}", outcome.rendered);
    let outcome = plan_with(&text, &[environment("größe", "{ länge = 5 }")]);
    assert_eq!(outcome.rendered, "");
    // Labels become names of guests.
    let text = format!("{BASE}server \"größe\" {{\n  flavor = flavor.small\n  image = image.debian\n}}\n");
    insta::assert_snapshot!("label_of_another_script", plan_with(&text, &[]).rendered);
}
