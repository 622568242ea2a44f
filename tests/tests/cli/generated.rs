//! `plan --generate-config-out`: blocks that are written for servers which are to be imported.

use crate::imports::{CHECK, ID, IMPORT, fleet, is_settled};

#[test]
fn blocks_are_generated_for_imports_that_lack_them() {
    let fleet = fleet(&[IMPORT, CHECK, "locals {\n  unused = 1\n}\n"]);
    let bare = fleet.drover(&["plan"]).exits(1);
    bare.says("the server is not declared")
        .says("--generate-config-out");
    let ran = fleet
        .drover(&["plan", "--generate-config-out", "new.hcl"])
        .exits(0);
    assert_eq!(ran.text().matches("Never so.").count(), 1, "{}", ran.text());
    ran.says("Wrote 1 server to new.hcl")
        .says("server.old will be imported from n1/legacy");
    let text = std::fs::read_to_string(fleet.project().join("new.hcl")).expect("written");
    insta::assert_snapshot!(text.replace(&ID.to_string(), "<id>"));
    let refused = fleet.drover(&["plan", "--generate-config-out", "new.hcl"]);
    refused
        .exits(1)
        .says("new.hcl is there already, and is not written over");
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("1 imported");
    is_settled(&fleet);
    let nothing = fleet.drover(&["plan", "--generate-config-out", "more.hcl"]);
    nothing.exits(0).says("Nothing was written to more.hcl");
    assert!(!fleet.project().join("more.hcl").exists());
}

#[test]
fn no_block_is_generated_for_an_instance_or_in_a_module() {
    let web = r#"
import {
  for_each = toset(["legacy"])
  to       = server.web[each.key]
  id       = "n1/${each.key}"
}
"#;
    let inside = IMPORT.replace("server.old", "module.shop.server.old");
    for (import, why) in [
        (web, "server.web[\"legacy\"] is one of several servers of a block"),
        (&inside, "module.shop.server.old is in a module"),
    ] {
        let module = "module \"shop\" {\n  source = \"./shop\"\n}\n";
        let fleet = fleet(&[import, module]);
        std::fs::create_dir(fleet.project().join("shop")).expect("made");
        fleet.write("shop/main.hcl", "locals {\n  unused = 1\n}\n");
        let bare = fleet.drover(&["plan"]).exits(1);
        bare.says("the server is not declared")
            .says_nothing_of("--generate-config-out");
        let refused = fleet.drover(&["plan", "--generate-config-out", "new.hcl"]);
        refused
            .exits(1)
            .says("error: Configuration cannot be generated")
            .says("--> old.hcl:")
            .says(why)
            .says("help: write server")
            .says_nothing_of("Wrote");
        assert!(!fleet.project().join("new.hcl").exists());
    }
}
