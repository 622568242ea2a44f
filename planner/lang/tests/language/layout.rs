//! Layout: what `drover fmt` writes, and that it changes nothing but blanks.

use drover_lang::layout::arrange;
use drover_lang::source::SourceMap;
use proptest::prelude::*;

fn format(text: &str) -> String {
    let mut sources = SourceMap::default();
    let file = sources.add("main.hcl", text);
    arrange(&sources, file).unwrap_or_else(|found| panic!("{text}: {:#?}", found.to_json(&sources)))
}

#[test]
fn as_terraform_lays_out() {
    for (text, expected) in [
        ("", ""),
        ("a=1", "a = 1\n"),
        (
            "resource \"terraform_data\" \"x\" {\n  input   = 1\n    triggers_replace=[1]\n}\n",
            "resource \"terraform_data\" \"x\" {\n  input            = 1\n  triggers_replace = [1]\n}\n",
        ),
        ("a = 1\nbbb = 2\n\ncc = 3\n", "a   = 1\nbbb = 2\n\ncc = 3\n"),
        (
            "a = 1 # one\nbbb = 22   // two\n",
            "a   = 1  # one\nbbb = 22 // two\n",
        ),
        ("# alone\n   # also\na = 1\n", "# alone\n# also\na = 1\n"),
        ("x {\na = 1\n/* b */\n\n\n}\n", "x {\n  a = 1\n  /* b */\n\n\n}\n"),
        ("a = [\n1,\n2,\n]\nb = 1\n", "a = [\n  1,\n  2,\n]\nb = 1\n"),
        (
            "a = f({\nx = 1\nyy = 2\n})\n",
            "a = f({\n  x  = 1\n  yy = 2\n})\n",
        ),
        (
            "a = [{\nx = 1\n}, {\nx = 2\n}]\n",
            "a = [{\n  x = 1\n  }, {\n  x = 2\n}]\n",
        ),
        (
            "a = [\n{\nx = 1\nyy = [2]\n}, {\nx = 2\n},\n{ x = 3 },\n]\nb = 1\n",
            "a = [\n  {\n    x  = 1\n    yy = [2]\n    }, {\n    x = 2\n  },\n  { x = 3 },\n]\nb = 1\n",
        ),
        (
            "a = merge({\nx = 1\n}, b, {\nx = 2\n}, [{\ny = 3\n}])\n",
            "a = merge({\n  x = 1\n  }, b, {\n  x = 2\n  }, [{\n    y = 3\n}])\n",
        ),
        (
            "a = [{ x = 1 }, {\nx = 2 }, { x = 3\n}, { x = 4 }]\nb = 1\n",
            "a = [{ x = 1 }, {\n  x = 2 }, { x = 3\n}, { x = 4 }]\nb = 1\n",
        ),
        (
            "a = [\n{ x = 1\nyyy = 2\n},\n]\n",
            "a = [\n  { x   = 1\n    yyy = 2\n  },\n]\n",
        ),
        ("a = [ 1,2 , 3 ]\n", "a = [1, 2, 3]\n"),
        ("a = {x=1,y=2}\n", "a = { x = 1, y = 2 }\n"),
        ("a = { }\n", "a = {}\n"),
        ("x {}\n", "x {}\n"),
        ("a = -1 - -b*2\n", "a = -1 - -b * 2\n"),
        ("a = !b&&c||d\n", "a = !b && c || d\n"),
        ("a = b?c:d\n", "a = b ? c : d\n"),
        ("a = f ( b , c... )\n", "a = f(b, c...)\n"),
        ("a = b [ 0 ] . c [ * ] . d\n", "a = b[0].c[*].d\n"),
        (
            "a = [for k,v in[b]:v if v>1]\n",
            "a = [for k, v in [b] : v if v > 1]\n",
        ),
        ("a = {for k in b : k=>k...}\n", "a = { for k in b : k => k... }\n"),
        ("a = \"x  ${ b[\"c\"] }  y\"\n", "a = \"x  ${ b[\"c\"] }  y\"\n"),
        (
            "a = <<-EOT\n   x   ${b}\n\n    EOT\nb  =  1\n",
            "a = <<-EOT\n   x   ${b}\n\n    EOT\nb = 1\n",
        ),
        (
            "x {\n  a = <<EOT\n b = {\nEOT\n c = 1\n}\n",
            "x {\n  a = <<EOT\n b = {\nEOT\n  c = 1\n}\n",
        ),
        (
            "a = \"ü\"  # ü\nb = \"uu\" # u\n",
            "a = \"ü\"  # ü\nb = \"uu\" # u\n",
        ),
        ("a = 1\r\nbb = 2\r\n", "a  = 1\nbb = 2\n"),
        ("\ta = 1   \n", "a = 1\n"),
        ("a = core::upper (\"x\")\n", "a = core::upper(\"x\")\n"),
        ("a = 1.5e-3/2%3\n", "a = 1.5e-3 / 2 % 3\n"),
        (
            // The same letter as one character and as two.
            "\u{e9}=1\nae\u{301}i-2 = \u{e9}.e\u{301}\n",
            "\u{e9}     = 1\nae\u{301}i-2 = \u{e9}.e\u{301}\n",
        ),
        ("a = \"$${\" # {\nb = 1\n", "a = \"$${\" # {\nb = 1\n"),
    ] {
        assert_eq!(format(text), expected, "{text}");
        assert_eq!(format(expected), expected, "{text}: twice");
    }
}

#[test]
fn a_text_with_mistakes_is_refused() {
    let mut sources = SourceMap::default();
    let file = sources.add("main.hcl", "a = \nb = 1\n");
    let found = arrange(&sources, file).expect_err("it has a mistake");
    assert!(found.has_errors());
}

/// Expressions in odd layouts.
fn expression() -> impl Strategy<Value = String> {
    let blank = prop::sample::select(vec!["", " ", "   ", "\t"]);
    let leaf = prop::sample::select(vec![
        "1",
        "2.5",
        "\"a  b\"",
        "\"${x}\"",
        "x",
        "x.y",
        "x[0]",
        "x[*].y",
        "true",
        "null",
        "\"# no comment\"",
        "\"%{ if a }b%{ endif }\"",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let blank = blank.clone();
        prop_oneof![
            (
                inner.clone(),
                blank.clone(),
                prop::sample::select(vec!["+", "-", "*", "&&", "==", "<="]),
                inner.clone()
            )
                .prop_map(|(a, s, op, b)| format!("({a}{s} {op} {s}{b})")),
            (prop::collection::vec(inner.clone(), 0..4), blank.clone())
                .prop_map(|(items, s)| format!("[{s}{}{s}]", items.join(&format!("{s},{s}")))),
            (prop::collection::vec(inner.clone(), 1..3), blank.clone()).prop_map(|(items, s)| {
                let items: Vec<String> = items
                    .iter()
                    .map(|item| format!("{s}{item}{s},{s}# c\n{s}"))
                    .collect();
                format!("[\n{}]", items.concat())
            }),
            (prop::collection::vec(inner.clone(), 0..3), blank.clone()).prop_map(|(items, s)| {
                let items: Vec<String> = (0..)
                    .zip(&items)
                    .map(|(at, item)| format!("k{at}{s}={s}{item}"))
                    .collect();
                format!("{{{s}{}{s}}}", items.join(","))
            }),
            (inner.clone(), blank.clone()).prop_map(|(a, s)| format!("f({s}{a}{s})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a}?{b}:{c})")),
            inner.clone().prop_map(|a| format!("[for i in[{a}]:-i if !i]")),
            inner.prop_map(|a| format!("-{a}")),
        ]
    })
}

fn body() -> impl Strategy<Value = String> {
    let blank = prop::sample::select(vec!["", " ", "    ", "\t"]);
    let line =
        (blank.clone(), expression(), blank, 0..8_u8).prop_map(|(a, expression, b, kind)| match kind {
            0 => format!("{a}# {expression}\n")
                .replace("#  \n", "#\n")
                .lines()
                .next()
                .map(|l| format!("{l}\n"))
                .unwrap_or_default(),
            1 => format!("{a}NAME{b}={a}{expression}{b}// why\n"),
            2 => format!("{a}NAME{b}={b}<<-EOT\n  {a}text\n   ${{x}}\n{b}EOT\n"),
            3 => "\n".to_owned(),
            4 => format!("{a}block{b} \"l\"{a} {{{b}\n{b}NAME={expression}\n{a}}}\n"),
            5 => {
                let one = format!("{{\n{b}x={expression}\n{a}yy={b}1 # c\n{a}}}");
                format!("{a}NAME{b}={a}[{one},{b}{one}, {{\n{a}z=[{b}]}}{b}]\n")
            }
            6 => format!("{a}NAME=f([{{{b}\nx=1\n{a}}},{b}{{{a}\n}}],{a}{expression},{{\n{b}}})\n"),
            _ => format!("{a}NAME{b}={a}{expression}{b}\n"),
        });
    prop::collection::vec(line, 0..8).prop_map(|lines| {
        let named = (0..)
            .zip(lines)
            .map(|(at, line): (usize, String)| line.replace("NAME", &format!("n{}{at}", "x".repeat(at % 4))));
        named.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn formatting_changes_no_meaning_and_twice_is_once(text in body()) {
        let Ok(parsed) = hcl::parse(&text) else {
            return Ok(());
        };
        let once = format(&text);
        let again = hcl::parse(&once);
        prop_assert!(again.is_ok(), "{text}\n---\n{once}\n{again:?}");
        prop_assert_eq!(again.ok(), Some(parsed), "{}\n---\n{}", &text, &once);
        prop_assert_eq!(format(&once), once.as_str());
        // Only blanks differ.
        let pieces = |text: &str| text.split_whitespace().collect::<String>();
        prop_assert_eq!(pieces(&text), pieces(&once));
        prop_assert!(once.lines().all(|line| line.trim_end() == line || line.contains("text")), "{}", once);
    }
}

#[test]
fn most_random_bodies_are_whole() {
    // The property above skips texts that do not parse: there must not be many.
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let whole = (0..100)
        .filter(|_| {
            let text = body().new_tree(&mut runner).expect("a text").current();
            hcl::parse(&text).is_ok()
        })
        .count();
    assert!(whole > 60, "only {whole} of 100 are whole");
}
