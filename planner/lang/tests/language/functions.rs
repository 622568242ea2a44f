//! Functions with the examples of Terraform's documentation.

use crate::support::{FakeFiles, evaluate_with, table};
use drover_lang::value::encode_json;

#[test]
fn collections() {
    table(&[
        ("length([])", "0"),
        ("length([\"a\", \"b\"])", "2"),
        ("length({\"a\" = \"b\"})", "1"),
        ("length(\"hello\")", "5"),
        ("length(\"👾🕹️\")", "2"),
        ("keys({a=1, c=2, d=3})", r#"["a","c","d"]"#),
        ("values({a=3, c=2, d=1})", "[3,2,1]"),
        (
            "merge({a=\"b\", c=\"d\"}, {e=\"f\", c=\"z\"})",
            r#"{"a":"b","c":"z","e":"f"}"#,
        ),
        (
            "merge({a=\"b\"}, {a=[1,2], c=\"z\"}, {d=3})",
            r#"{"a":[1,2],"c":"z","d":3}"#,
        ),
        (
            "merge([{a=\"b\", c=\"d\"}, {}, {e=\"f\", c=\"z\"}]...)",
            r#"{"a":"b","c":"z","e":"f"}"#,
        ),
        ("concat([\"a\", \"\"], [\"b\", \"c\"])", r#"["a","","b","c"]"#),
        ("contains([\"a\", \"b\", \"c\"], \"a\")", "true"),
        ("contains([\"a\", \"b\", \"c\"], \"d\")", "false"),
        ("index([\"a\", \"b\", \"c\"], \"b\")", "1"),
        ("contains([\"1\"], 1)", "false"),
        ("contains([true], \"true\")", "false"),
        ("parseint(\"aA\", 62)", "656"),
        ("parseint(\"-Z\", 62)", "-61"),
        ("parseint(\"12\", 37)", "39"),
        ("lookup({a=\"ay\", b=\"bee\"}, \"a\", \"what?\")", "\"ay\""),
        ("lookup({a=\"ay\", b=\"bee\"}, \"c\", \"what?\")", "\"what?\""),
        ("element([\"a\", \"b\", \"c\"], 1)", "\"b\""),
        ("element([\"a\", \"b\", \"c\"], 3)", "\"a\""),
        (
            "element([\"a\", \"b\", \"c\"], length([\"a\", \"b\", \"c\"])-1)",
            "\"c\"",
        ),
        ("element([\"a\", \"b\", \"c\"], -1)", "\"c\""),
        ("flatten([[\"a\", \"b\"], [], [\"c\"]])", r#"["a","b","c"]"#),
        ("flatten([[[\"a\", \"b\"], []], [\"c\"]])", r#"["a","b","c"]"#),
        (
            "distinct([\"a\", \"b\", \"a\", \"c\", \"d\", \"b\"])",
            r#"["a","b","c","d"]"#,
        ),
        ("sort([\"e\", \"d\", \"a\", \"x\"])", r#"["a","d","e","x"]"#),
        ("reverse([1, 2, 3])", "[3,2,1]"),
        ("range(3)", "[0,1,2]"),
        ("range(1, 4)", "[1,2,3]"),
        ("range(1, 8, 2)", "[1,3,5,7]"),
        ("range(1, 4, 0.5)", "[1,1.5,2,2.5,3,3.5]"),
        ("range(4, 1)", "[4,3,2]"),
        ("range(10, 5, -2)", "[10,8,6]"),
        ("zipmap([\"a\", \"b\"], [1, 2])", r#"{"a":1,"b":2}"#),
        ("compact([\"a\", \"\", \"b\", null, \"c\"])", r#"["a","b","c"]"#),
        ("coalesce(\"a\", \"b\")", "\"a\""),
        ("coalesce(\"\", \"b\")", "\"b\""),
        ("coalesce(1, 2)", "1"),
        ("coalesce([\"\", \"b\"]...)", "\"b\""),
        ("coalesce(1, \"hello\")", "\"1\""),
        ("coalescelist([], [\"c\", \"d\"])", r#"["c","d"]"#),
        ("slice([\"a\", \"b\", \"c\", \"d\"], 1, 3)", r#"["b","c"]"#),
        (
            "chunklist([\"a\", \"b\", \"c\", \"d\", \"e\"], 2)",
            r#"[["a","b"],["c","d"],["e"]]"#,
        ),
        (
            "matchkeys([\"i-123\", \"i-abc\", \"i-def\"], [\"us-west\", \"us-east\", \"us-east\"], [\"us-east\"])",
            r#"["i-abc","i-def"]"#,
        ),
        ("one([])", "null"),
        ("one([\"hello\"])", "\"hello\""),
        ("alltrue([\"true\", true])", "true"),
        ("alltrue([true, false])", "false"),
        ("alltrue([])", "true"),
        ("anytrue([true, false])", "true"),
        ("anytrue([])", "false"),
        (
            "transpose({\"a\" = [\"1\", \"2\"], \"b\" = [\"2\", \"3\"]})",
            r#"{"1":["a"],"2":["a","b"],"3":["b"]}"#,
        ),
        ("sum([10, 13, 6, 4.5])", "33.5"),
        ("try({a = 1}.b, \"fallback\")", "\"fallback\""),
        ("can({a = 1}.b)", "false"),
        ("can({a = 1}.a)", "true"),
    ]);
}

#[test]
fn sets_and_conversions() {
    table(&[
        ("toset([\"c\", \"b\", \"b\"])", r#"["b","c"]"#),
        ("toset([\"a\", \"b\", 3])", r#"["3","a","b"]"#),
        ("tolist([\"a\", \"b\", 3])", r#"["a","b","3"]"#),
        ("tomap({\"a\" = 1, \"b\" = 2})", r#"{"a":1,"b":2}"#),
        (
            "tomap({\"a\" = \"foo\", \"b\" = true})",
            r#"{"a":"foo","b":"true"}"#,
        ),
        ("tostring(1)", "\"1\""),
        ("tostring(true)", "\"true\""),
        ("tostring(null)", "null"),
        ("tonumber(\"1\")", "1"),
        ("tobool(\"true\")", "true"),
        ("can(tonumber(\"no\"))", "false"),
        ("can(tobool(1))", "false"),
        (
            "setunion([\"a\", \"b\"], [\"b\", \"c\"], [\"d\"])",
            r#"["a","b","c","d"]"#,
        ),
        (
            "setintersection([\"a\", \"b\"], [\"b\", \"c\"], [\"b\", \"d\"])",
            r#"["b"]"#,
        ),
        ("setsubtract([\"a\", \"b\", \"c\"], [\"a\", \"c\"])", r#"["b"]"#),
        (
            "setproduct([\"development\", \"staging\"], [\"app1\", \"app2\"])",
            r#"[["development","app1"],["development","app2"],["staging","app1"],["staging","app2"]]"#,
        ),
        ("setproduct([], [\"a\"])", "[]"),
        ("can(setproduct([\"a\"]))", "false"),
    ]);
}

#[test]
fn strings() {
    table(&[
        ("upper(\"hello\")", "\"HELLO\""),
        ("lower(\"АЛЛО!\")", "\"алло!\""),
        ("title(\"hello world\")", "\"Hello World\""),
        ("trim(\"?!hello?!\", \"!?\")", "\"hello\""),
        ("trim(\"foobar\", \"far\")", "\"oob\""),
        ("trim(\"   hello! world.!  \", \"! \")", "\"hello! world.\""),
        ("trimprefix(\"helloworld\", \"hello\")", "\"world\""),
        ("trimsuffix(\"helloworld\", \"world\")", "\"hello\""),
        ("trimspace(\"  hello\\n\\n\")", "\"hello\""),
        ("chomp(\"hello\\r\\n\\n\")", "\"hello\""),
        ("indent(2, \"[\\n  foo,\\n]\\n\")", "\"[\\n    foo,\\n  ]\\n  \""),
        ("replace(\"1 + 2 + 3\", \"+\", \"-\")", "\"1 - 2 - 3\""),
        ("split(\",\", \"foo,bar,baz\")", r#"["foo","bar","baz"]"#),
        ("split(\",\", \"foo\")", r#"["foo"]"#),
        ("split(\",\", \"\")", r#"[""]"#),
        ("join(\"-\", [\"foo\", \"bar\", \"baz\"])", "\"foo-bar-baz\""),
        ("join(\", \", [\"foo\"])", "\"foo\""),
        ("join(\",\", [1, true])", "\"1,true\""),
        ("substr(\"hello world\", 1, 4)", "\"ello\""),
        ("substr(\"🤔🤷\", 0, 1)", "\"🤔\""),
        ("substr(\"hello world\", -5, -1)", "\"world\""),
        ("substr(\"hello world\", 6, 10)", "\"world\""),
        ("strrev(\"hello\")", "\"olleh\""),
        ("strrev(\"a ☃\")", "\"☃ a\""),
        ("startswith(\"hello world\", \"hello\")", "true"),
        ("endswith(\"hello world\", \"hello\")", "false"),
        ("strcontains(\"hello world\", \"wor\")", "true"),
    ]);
}

#[test]
fn regular_expressions() {
    table(&[
        (
            "regex(\"[a-z]+\", \"53453453.345345aaabbbccc23454\")",
            "\"aaabbbccc\"",
        ),
        (
            "regex(\"(\\\\d\\\\d\\\\d\\\\d)-(\\\\d\\\\d)-(\\\\d\\\\d)\", \"2019-02-01\")",
            r#"["2019","02","01"]"#,
        ),
        (
            "regex(\"^(?:(?P<scheme>[^:/?#]+):)?(?://(?P<authority>[^/?#]*))?\", \"https://terraform.io/docs/\")",
            r#"{"authority":"terraform.io","scheme":"https"}"#,
        ),
        ("can(regex(\"[a-z]+\", \"53453453.34534523454\"))", "false"),
        (
            "regexall(\"[a-z]+\", \"1234abcd5678efgh9\")",
            r#"["abcd","efgh"]"#,
        ),
        ("length(regexall(\"[a-z]+\", \"123456789\"))", "0"),
        (
            "replace(\"hello world\", \"/w.*d/\", \"everybody\")",
            "\"hello everybody\"",
        ),
        ("replace(\"a-b\", \"/(a)-(b)/\", \"$2-$1\")", "\"b-a\""),
        ("can(regex(\"(\", \"a\"))", "false"),
        ("can(regex(\"((a{1000}){1000}){1000}\", \"a\"))", "false"),
    ]);
}

#[test]
fn format_verbs() {
    table(&[
        ("format(\"Hello, %s!\", \"Ander\")", "\"Hello, Ander!\""),
        ("format(\"There are %d lights\", 4)", "\"There are 4 lights\""),
        ("format(\"%#v\", \"hello\")", "\"\\\"hello\\\"\""),
        ("format(\"%#v\", true)", "\"true\""),
        ("format(\"%#v\", {a = 1})", "\"{\\\"a\\\":1}\""),
        ("format(\"%v\", [1, \"a\"])", "\"[1,\\\"a\\\"]\""),
        ("format(\"%04d\", 7)", "\"0007\""),
        ("format(\"%-4d|%4d\", 7, 7)", "\"7   |   7\""),
        ("format(\"%+d % d\", 7, 7)", "\"+7  7\""),
        ("format(\"%04d\", -7)", "\"-007\""),
        ("format(\"%x %X %o %b\", 255, 255, 8, 5)", "\"ff FF 10 101\""),
        ("format(\"%.2f\", 3.14159)", "\"3.14\""),
        ("format(\"%f\", 1)", "\"1.000000\""),
        ("format(\"%e\", 1234.5678)", "\"1.234568e+03\""),
        ("format(\"%g\", 0.00001)", "\"1e-05\""),
        ("format(\"%g\", 100000)", "\"100000\""),
        (
            "format(\"%5s|%-5s|%.2s\", \"a\", \"b\", \"cde\")",
            "\"    a|b    |cd\"",
        ),
        ("format(\"%q\", \"a\\\"b\")", "\"\\\"a\\\\\\\"b\\\"\""),
        ("format(\"%t %%\", true)", "\"true %\""),
        ("format(\"%[2]s-%[1]s\", \"a\", \"b\")", "\"b-a\""),
        ("format(\"%s\", 12)", "\"12\""),
        (
            "formatlist(\"Hello, %s!\", [\"Valentina\", \"Ander\"])",
            r#"["Hello, Valentina!","Hello, Ander!"]"#,
        ),
        (
            "formatlist(\"%s, %s!\", \"Salutations\", [\"Valentina\", \"Ander\"])",
            r#"["Salutations, Valentina!","Salutations, Ander!"]"#,
        ),
        ("can(format(\"%s\"))", "false"),
        ("can(format(\"%s\", 1, 2))", "false"),
        ("can(format(\"%y\", 1))", "false"),
        ("can(format(\"%99999d\", 1))", "false"),
    ]);
}

#[test]
fn numbers() {
    table(&[
        ("min(12, 54, 3)", "3"),
        ("max(12, 54, 3)", "54"),
        ("max([12, 54, 3]...)", "54"),
        ("abs(-12.4)", "12.4"),
        ("ceil(5.1)", "6"),
        ("floor(4.9)", "4"),
        ("floor(-4.1)", "-5"),
        ("signum(-13)", "-1"),
        ("parseint(\"100\", 10)", "100"),
        ("parseint(\"FF\", 16)", "255"),
        ("parseint(\"-10\", 16)", "-16"),
        ("parseint(\"1011111011101111\", 2)", "48879"),
        ("can(parseint(\"12\", 2))", "false"),
        ("pow(3, 2)", "9"),
        ("pow(4, 0)", "1"),
        ("pow(2, 100)", "1267650600228229401496703205376"),
        ("log(16, 2)", "4"),
        ("ceil(log(15, 2))", "4"),
        ("ceil(log(16, 2))", "4"),
        ("ceil(log(17, 2))", "5"),
        ("format(\"%.8f\", log(50, 10))", "\"1.69897000\""),
    ]);
}

#[test]
fn encoding_and_hashes() {
    table(&[
        (
            "jsonencode({\"hello\"=\"world\"})",
            "\"{\\\"hello\\\":\\\"world\\\"}\"",
        ),
        (
            "jsonencode([1, null, true, \"<a>\"])",
            "\"[1,null,true,\\\"\\\\u003ca\\\\u003e\\\"]\"",
        ),
        (
            "jsondecode(\"{\\\"hello\\\": \\\"world\\\"}\")",
            r#"{"hello":"world"}"#,
        ),
        ("jsondecode(\"true\")", "true"),
        ("can(jsondecode(\"{\"))", "false"),
        ("base64encode(\"Hello World\")", "\"SGVsbG8gV29ybGQ=\""),
        ("base64decode(\"SGVsbG8gV29ybGQ=\")", "\"Hello World\""),
        (
            "sha256(\"hello world\")",
            "\"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9\"",
        ),
        (
            "base64sha256(\"hello world\")",
            "\"uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=\"",
        ),
        ("substr(sha512(\"hello world\"), 0, 16)", "\"309ecc489c12d6eb\""),
        ("urlencode(\"Hello World!\")", "\"Hello+World%21\""),
        (
            "urlencode(\"foo:bar@localhost?foo=bar&bar=baz\")",
            "\"foo%3Abar%40localhost%3Ffoo%3Dbar%26bar%3Dbaz\"",
        ),
    ]);
}

#[test]
fn hashes() {
    table(&[
        ("md5(\"hello world\")", "\"5eb63bbbe01eeed093cb22bb8f5acdc3\""),
        (
            "sha1(\"hello world\")",
            "\"2aae6c35c94fcfb415dbe95f408b9ce91ee846ed\"",
        ),
        (
            "base64sha512(\"hello world\")",
            "\"MJ7MSJwS1utMxA9QyQLytNDtd+5RGnx6m808qG1M2G+YndNbxf9JlnDaNCVbRbDP2DDoH2Bdz33FVC6TrpzXbw==\"",
        ),
        (
            "uuidv5(\"dns\", \"www.terraform.io\")",
            "\"a5008fae-b28c-5ba5-96cd-82b4c53552d6\"",
        ),
        (
            "uuidv5(\"url\", \"https://www.terraform.io/\")",
            "\"9db6f67c-dd95-5ea0-aa5b-e70e5c5f7cf5\"",
        ),
        (
            "uuidv5(\"6ba7b810-9dad-11d1-80b4-00c04fd430c8\", \"www.terraform.io\")",
            "\"a5008fae-b28c-5ba5-96cd-82b4c53552d6\"",
        ),
        (
            "uuidv5(\"oid\", \"1.3.6.1.4\")",
            "\"af9d40a5-7a36-5c07-b23a-851cd99fbfa5\"",
        ),
        (
            "uuidv5(\"x500\", \"CN=Example,C=GB\")",
            "\"84e09961-4aa4-57f8-95b7-03edb1073253\"",
        ),
        ("can(uuidv5(\"other\", \"a\"))", "false"),
    ]);
    let files = FakeFiles([("hello.txt", "hello world")].into());
    for (of_file, of_text) in [
        ("filemd5", "md5"),
        ("filesha1", "sha1"),
        ("filesha256", "sha256"),
        ("filesha512", "sha512"),
        ("filebase64sha256", "base64sha256"),
        ("filebase64sha512", "base64sha512"),
    ] {
        let text =
            format!("{of_file}(\"hello.txt\") == {of_text}(\"hello world\") && !can({of_file}(\"none\"))");
        let value = evaluate_with(&text, &files).unwrap_or_else(|found| panic!("{text}: {found:#?}"));
        assert_eq!(value.as_bool(), Some(true), "{text}");
    }
}

#[test]
fn dates() {
    table(&[
        (
            "formatdate(\"DD MMM YYYY hh:mm ZZZ\", \"2018-01-02T23:12:01Z\")",
            "\"02 Jan 2018 23:12 UTC\"",
        ),
        (
            "formatdate(\"EEEE, DD-MMM-YY hh:mm:ss ZZZ\", \"2018-01-02T23:12:01Z\")",
            "\"Tuesday, 02-Jan-18 23:12:01 UTC\"",
        ),
        (
            "formatdate(\"EEE, DD MMM YYYY hh:mm:ss ZZZ\", \"2018-01-02T23:12:01-08:00\")",
            "\"Tue, 02 Jan 2018 23:12:01 -0800\"",
        ),
        (
            "formatdate(\"MMM DD, YYYY\", \"2018-01-02T23:12:01Z\")",
            "\"Jan 02, 2018\"",
        ),
        ("formatdate(\"HH:mmaa\", \"2018-01-02T23:12:01Z\")", "\"11:12pm\""),
        ("formatdate(\"h'h'mm\", \"2018-01-02T23:12:01Z\")", "\"23h12\""),
        (
            "formatdate(\"H 'o''clock'\", \"2018-01-02T00:12:01Z\")",
            "\"12 o'clock\"",
        ),
        (
            "formatdate(\"YYYY-MM-DD'T'hh:mm:ssZ|ZZZZ|ZZZZZ|M/D/YY AA s m\", \"2018-01-02T03:04:05.9+05:30\")",
            "\"2018-01-02T03:04:05+05:30|+0530|+05:30|1/2/18 AM 5 4\"",
        ),
        ("can(formatdate(\"YYY\", \"2018-01-02T23:12:01Z\"))", "false"),
        ("can(formatdate(\"YYYY\", \"2018-01-02\"))", "false"),
        ("can(formatdate(\"YYYY\", \"2018-13-02T23:12:01Z\"))", "false"),
        ("can(formatdate(\"'YYYY\", \"2018-01-02T23:12:01Z\"))", "false"),
        (
            "timeadd(\"2017-11-22T00:00:00Z\", \"10m\")",
            "\"2017-11-22T00:10:00Z\"",
        ),
        (
            "timeadd(\"2017-11-22T00:00:00+01:00\", \"-1.5h\")",
            "\"2017-11-21T22:30:00+01:00\"",
        ),
        (
            "timeadd(\"2017-11-22T00:00:00Z\", \"1h30m0.5s1ms\")",
            "\"2017-11-22T01:30:00Z\"",
        ),
        ("can(timeadd(\"2017-11-22T00:00:00Z\", \"10 minutes\"))", "false"),
        ("can(timeadd(\"2017-11-22T00:00:00Z\", \"\"))", "false"),
        ("can(timeadd(\"9999-12-31T00:00:00Z\", \"48h\"))", "false"),
        ("timecmp(\"2017-11-22T00:00:00Z\", \"2017-11-22T00:00:00Z\")", "0"),
        (
            "timecmp(\"2017-11-22T00:00:00Z\", \"2017-11-22T01:00:00Z\")",
            "-1",
        ),
        ("timecmp(\"2017-11-22T01:00:00Z\", \"2017-11-22T00:59:00Z\")", "1"),
        (
            "timecmp(\"2017-11-22T01:00:00Z\", \"2017-11-22T01:00:00-01:00\")",
            "-1",
        ),
        (
            "timecmp(\"2017-11-22T01:00:00+01:00\", \"2017-11-22T00:00:00Z\")",
            "0",
        ),
    ]);
}

#[test]
fn csv_and_other_encodings() {
    table(&[
        (
            "csvdecode(\"a,b,c\\n1,2,3\\n4,5,6\")",
            r#"[{"a":"1","b":"2","c":"3"},{"a":"4","b":"5","c":"6"}]"#,
        ),
        (
            "csvdecode(\"a,b\\n\\\"x,y\\\",\\\"z\\\"\\\"\\\"\\n\")",
            r#"[{"a":"x,y","b":"z\""}]"#,
        ),
        ("csvdecode(\"a\")", "[]"),
        ("can(csvdecode(\"a,b\\n1\"))", "false"),
        ("can(csvdecode(\"a,a\\n1,2\"))", "false"),
        (
            "textencodebase64(\"Hello World\", \"UTF-16LE\")",
            "\"SABlAGwAbABvACAAVwBvAHIAbABkAA==\"",
        ),
        (
            "textdecodebase64(\"SABlAGwAbABvACAAVwBvAHIAbABkAA==\", \"UTF-16LE\")",
            "\"Hello World\"",
        ),
        ("textencodebase64(\"hi\", \"UTF-16\")", "\"/v8AaABp\""),
        ("textdecodebase64(\"/v8AaABp\", \"UTF-16\")", "\"hi\""),
        ("textdecodebase64(\"//5oAGkA\", \"utf-16\")", "\"hi\""),
        ("textencodebase64(\"é\", \"windows-1252\")", "\"6Q==\""),
        ("can(textencodebase64(\"☃\", \"windows-1252\"))", "false"),
        ("can(textencodebase64(\"a\", \"no-such\"))", "false"),
        ("can(textdecodebase64(\"/w==\", \"UTF-8\"))", "false"),
    ]);
}

#[test]
fn yaml() {
    table(&[
        (
            "yamlencode({\"a\":\"b\", \"c\":\"d\"})",
            r#""\"a\": \"b\"\n\"c\": \"d\"\n""#,
        ),
        (
            "yamlencode({\"foo\":[1, 2, 3], \"bar\": \"baz\"})",
            r#""\"bar\": \"baz\"\n\"foo\":\n- 1\n- 2\n- 3\n""#,
        ),
        (
            "yamlencode({\"foo\":[1, {\"a\":\"b\",\"c\":\"d\"}, 3], \"bar\": \"baz\"})",
            r#""\"bar\": \"baz\"\n\"foo\":\n- 1\n- \"a\": \"b\"\n  \"c\": \"d\"\n- 3\n""#,
        ),
        (
            "yamlencode([[], {}, null, true])",
            r#""- []\n- {}\n- null\n- true\n""#,
        ),
        ("yamlencode([[1, [2]], 3])", r#""- - 1\n  - - 2\n- 3\n""#),
        (
            "yamlencode({ a = { b = { c = [{ d = [1] }] } } })",
            r#""\"a\":\n  \"b\":\n    \"c\":\n    - \"d\":\n      - 1\n""#,
        ),
        ("yamlencode({ a = \"x\\ny\\n\" })", r#""\"a\": |\n  x\n  y\n""#),
        ("yamldecode(\"hello: world\")", r#"{"hello":"world"}"#),
        ("yamldecode(\"true\")", "true"),
        (
            "yamldecode(\"{a: &foo [1, 2, 3], b: *foo}\")",
            r#"{"a":[1,2,3],"b":[1,2,3]}"#,
        ),
        (
            "yamldecode(\"- 1\\n- 1.5\\n- ~\\n- '1'\\n\")",
            r#"[1,1.5,null,"1"]"#,
        ),
        ("can(yamldecode(\"{a: *foo}\"))", "false"),
        ("can(yamldecode(\"{a: &foo [1, *foo, 3]}\"))", "false"),
        ("can(yamldecode(\"{a: !not-supported foo}\"))", "false"),
        ("yamldecode(\"!!binary aGVsbG8=\")", "\"aGVsbG8=\""),
        ("yamldecode(\"!!str 12\")", "\"12\""),
        ("yamldecode(\"!!int '12'\")", "12"),
        ("can(yamldecode(\"[\"))", "false"),
    ]);
    for value in [
        "[[1, [2, { a = [] }]], { b = { c = \"d\" } }]",
        "{ text = \"a\\n  b\\n\\n\", odd = \"\\t\\\"x\\\\ \", end = \"a\\nb\", more = \"\\n a \\n\" }",
        "[\"true\", \"1\", \"~\", \"- a\", \"a: b\", \"\"]",
        "{ \"1\" = 1, \"true\" = true, \"a b\" = null }",
    ] {
        let text = format!("yamldecode(yamlencode({value})) == {value}");
        let same = crate::support::evaluate(&text).unwrap_or_else(|found| panic!("{text}: {found:#?}"));
        assert_eq!(same.as_bool(), Some(true), "{text}");
    }
    // Aliases of aliases would be 3^20 values.
    let mut bomb = String::from("a0: &a0 [1,1,1]\\n");
    for level in 1..20 {
        let last = level - 1;
        bomb.push_str(&format!("a{level}: &a{level} [*a{last},*a{last},*a{last}]\\n"));
    }
    table(&[(&format!("can(yamldecode(\"{bomb}\"))"), "false")]);
}

/// As in the tests of Terraform's library, and around them.
#[test]
fn yaml_timestamps_are_texts() {
    table(&[
        ("yamldecode(\"2006-1-2\")", "\"2006-01-02T00:00:00Z\""),
        ("yamldecode(\"!!timestamp 2006-1-2\")", "\"2006-01-02T00:00:00Z\""),
        // A text in quotes is one.
        ("yamldecode(\"'2006-1-2'\")", "\"2006-1-2\""),
        ("yamldecode(\"!!timestamp '2006-1-2'\")", "\"2006-1-2\""),
        ("yamldecode(\"!!str 2006-1-2\")", "\"2006-1-2\""),
        ("yamldecode(\"|-\\n  2006-1-2\")", "\"2006-1-2\""),
        (
            "yamldecode(\"2001-12-14 21:59:43.10 -5\")",
            "\"2001-12-14 21:59:43.10 -5\"",
        ),
        // In keys, lists and maps of both kinds, with anchors, beside others and over two lines.
        (
            "yamldecode(\"ü: &a 2001-12-14t21:59:43.10-05:00 # ü\\nb: *a\\n!!timestamp 2001-1-1: [2001-1-2,{c: 2001-1-3}]\\n\")",
            r#"{"2001-01-01T00:00:00Z":["2001-01-02T00:00:00Z",{"c":"2001-01-03T00:00:00Z"}],"b":"2001-12-14T21:59:43-05:00","ü":"2001-12-14T21:59:43-05:00"}"#,
        ),
        (
            "yamldecode(\"a: 2001-1-1\\n  1:02:03\\nb: &x !!timestamp\\n  2001-1-2\\nc: 12\\n\")",
            r#"{"a":"2001-01-01T01:02:03Z","b":"2001-01-02T00:00:00Z","c":12}"#,
        ),
        (
            "yamldecode(\"%TAG !! tag:example.com,2000:\\n%TAG !y! tag:yaml.org,2002:\\n---\\n- !y!timestamp 2001-1-1\\n\")",
            r#"["2001-01-01T00:00:00Z"]"#,
        ),
        ("can(yamldecode(\"!!timestamp soon\"))", "false"),
        ("can(yamldecode(\"!!timestamp 2001-02-29\"))", "false"),
        ("can(yamldecode(\"!!timestamp [2001-1-1]\"))", "false"),
        ("can(yamldecode(\"!!timestamp |-\\n  2001-1-1\"))", "false"),
        (
            "formatdate(\"D MMM YYYY\", yamldecode(\"2001-12-14\"))",
            "\"14 Dec 2001\"",
        ),
    ]);
}

#[test]
fn marks_and_templates() {
    table(&[
        ("issensitive(sensitive(\"a\"))", "true"),
        ("issensitive(\"a\")", "false"),
        ("issensitive(nonsensitive(sensitive(\"a\")))", "false"),
        ("issensitive([sensitive(\"a\")])", "false"),
        ("nonsensitive(\"a\")", "\"a\""),
        ("ephemeralasnull(\"a\")", "\"a\""),
        (
            "[for t in [\"Hello, $${name}!\"] : templatestring(t, { name = \"Jill\" })]",
            r#"["Hello, Jill!"]"#,
        ),
        (
            "[for t in [\"%%{ for x in xs ~}$${x},%%{ endfor ~}\"] : templatestring(t, { xs = [1, 2] })]",
            r#"["1,2,"]"#,
        ),
        ("can(templatestring(\"a\", {}))", "false"),
        (
            "can([for t in [\"$${b}\"] : templatestring(t, { a = 1 })])",
            "false",
        ),
    ]);
    let value = crate::support::evaluate("nonsensitive(sensitive(\"a\"))").expect("a value");
    assert!(!value.is_sensitive());
}

#[test]
fn networks() {
    table(&[
        ("cidrhost(\"10.12.112.0/20\", 16)", "\"10.12.112.16\""),
        ("cidrhost(\"10.12.112.0/20\", 268)", "\"10.12.113.12\""),
        (
            "cidrhost(\"fd00:fd12:3456:7890:00a2::/72\", 34)",
            "\"fd00:fd12:3456:7890::22\"",
        ),
        ("cidrhost(\"10.0.0.0/8\", -1)", "\"10.255.255.255\""),
        ("cidrnetmask(\"172.16.0.0/12\")", "\"255.240.0.0\""),
        ("cidrsubnet(\"172.16.0.0/12\", 4, 2)", "\"172.18.0.0/16\""),
        ("cidrsubnet(\"10.1.2.0/24\", 4, 15)", "\"10.1.2.240/28\""),
        (
            "cidrsubnet(\"fd00:fd12:3456:7890::/56\", 16, 162)",
            "\"fd00:fd12:3456:7800:a200::/72\"",
        ),
        (
            "cidrsubnets(\"10.1.0.0/16\", 4, 4, 8, 4)",
            r#"["10.1.0.0/20","10.1.16.0/20","10.1.32.0/24","10.1.48.0/20"]"#,
        ),
        (
            "cidrsubnets(\"fd00:fd12:3456:7890::/56\", 16, 16, 16, 32)",
            r#"["fd00:fd12:3456:7800::/72","fd00:fd12:3456:7800:100::/72","fd00:fd12:3456:7800:200::/72","fd00:fd12:3456:7800:300::/88"]"#,
        ),
        (
            "[for block in cidrsubnets(\"10.0.0.0/8\", 8, 8, 8, 8) : cidrsubnets(block, 4, 4)]",
            r#"[["10.0.0.0/20","10.0.16.0/20"],["10.1.0.0/20","10.1.16.0/20"],["10.2.0.0/20","10.2.16.0/20"],["10.3.0.0/20","10.3.16.0/20"]]"#,
        ),
        ("cidrsubnet(\"0.0.0.0/0\", 0, 0)", "\"0.0.0.0/0\""),
        (
            "cidrhost(\"::/0\", -1)",
            "\"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\"",
        ),
        ("can(cidrhost(\"10.0.0.0/30\", 4))", "false"),
        ("can(cidrsubnet(\"10.0.0.0/30\", 3, 0))", "false"),
        ("can(cidrsubnet(\"10.0.0.0/8\", 1, 2))", "false"),
        ("can(cidrhost(\"10.0.0/8\", 1))", "false"),
        ("can(cidrnetmask(\"::/8\"))", "false"),
        ("can(cidrsubnets(\"10.0.0.0/31\", 1, 1, 1))", "false"),
    ]);
}

#[test]
fn files_of_the_folder() {
    let files = FakeFiles(
        [
            ("hello.txt", "Hello"),
            (
                "cfg/a.tpl",
                "%{ for addr in ip_addrs ~}\nbackend ${addr}:${port}\n%{ endfor ~}\n",
            ),
            ("cfg/b.tpl", "${missing}"),
            ("cfg/sub/c.txt", ""),
        ]
        .into(),
    );
    for (text, expected) in [
        ("file(\"hello.txt\")", "\"Hello\""),
        ("file(\"./cfg/../hello.txt\")", "\"Hello\""),
        ("fileexists(\"nothing\")", "false"),
        ("fileexists(\"hello.txt\")", "true"),
        ("filebase64(\"hello.txt\")", "\"SGVsbG8=\""),
        ("fileset(\"cfg\", \"*.tpl\")", r#"["a.tpl","b.tpl"]"#),
        (
            "fileset(\".\", \"**/*.t*\")",
            r#"["cfg/a.tpl","cfg/b.tpl","cfg/sub/c.txt","hello.txt"]"#,
        ),
        (
            "templatefile(\"cfg/a.tpl\", { port = 8080, ip_addrs = [\"10.0.0.1\", \"10.0.0.2\"] })",
            "\"backend 10.0.0.1:8080\\nbackend 10.0.0.2:8080\\n\"",
        ),
        ("basename(\"foo/bar/baz.txt\")", "\"baz.txt\""),
        ("dirname(\"foo/bar/baz.txt\")", "\"foo/bar\""),
    ] {
        let value = evaluate_with(text, &files).unwrap_or_else(|found| panic!("{text}: {found:#?}"));
        assert_eq!(encode_json(&value).as_deref(), Ok(expected), "{text}");
    }
    let found =
        evaluate_with("templatefile(\"cfg/b.tpl\", { mising = 1 })", &files).expect_err("a name is missing");
    assert!(
        found[0]
            .detail
            .contains("\"missing\", which is not among the values"),
        "{found:#?}"
    );
}

#[test]
fn sensitive_and_unknown_parts_taint_what_is_made_of_them() {
    let value =
        evaluate_with("join(\",\", [\"a\", sensitive(\"b\")])", &FakeFiles::default()).expect("a value");
    assert!(value.is_sensitive());
    let value = evaluate_with("length([sensitive(\"a\")])", &FakeFiles::default()).expect("a value");
    assert!(
        !value.is_sensitive(),
        "the number of items says nothing about them"
    );
    let value = evaluate_with("{ a = sensitive(1) }.a + 1", &FakeFiles::default()).expect("a value");
    assert!(value.is_sensitive());
    let value = evaluate_with("sensitive(true) ? 1 : 2", &FakeFiles::default()).expect("a value");
    assert!(value.is_sensitive());
}
