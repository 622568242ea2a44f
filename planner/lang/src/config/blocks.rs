//! Which arguments and blocks each block may have.

/// An argument of a block.
pub(super) struct Argument {
    pub(super) name: &'static str,
    pub(super) required: bool,
    /// What to write, for the message about a missing one.
    pub(super) example: &'static str,
}

const fn required(name: &'static str, example: &'static str) -> Argument {
    Argument {
        name,
        required: true,
        example,
    }
}

const fn optional(name: &'static str, example: &'static str) -> Argument {
    Argument {
        name,
        required: false,
        example,
    }
}

/// How often a block may stand in another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Once,
    Any,
}

/// A kind of block.
pub(super) struct BlockSchema {
    pub(super) word: &'static str,
    /// Names of the labels, in order.
    pub(super) labels: &'static [&'static str],
    pub(super) times: Times,
    pub(super) arguments: &'static [Argument],
    /// Arguments may have any name.
    pub(super) free: bool,
    pub(super) blocks: &'static [BlockSchema],
}

const fn block(
    word: &'static str,
    labels: &'static [&'static str],
    arguments: &'static [Argument],
) -> BlockSchema {
    BlockSchema {
        word,
        labels,
        times: Times::Any,
        arguments,
        free: false,
        blocks: &[],
    }
}

impl BlockSchema {
    const fn once(mut self) -> Self {
        self.times = Times::Once;
        self
    }

    const fn with(mut self, blocks: &'static [BlockSchema]) -> Self {
        self.blocks = blocks;
        self
    }

    const fn free(mut self) -> Self {
        self.free = true;
        self
    }
}

const COUNT: Argument = optional("count", "3");
const FOR_EACH: Argument = optional("for_each", "toset([\"a\", \"b\"])");
const NAME: &[&str] = &["name"];

const CONDITION: &[Argument] = &[
    required("condition", "var.count > 0"),
    required("error_message", "\"count must be positive\""),
];

const PREVENT_DESTROY: Argument = optional("prevent_destroy", "true");
const IGNORE_CHANGES: Argument = optional("ignore_changes", "[labels]");

/// What must hold before a block is planned or read, and of what that gives.
const CONDITIONS: &[BlockSchema] = &[
    block("precondition", &[], CONDITION),
    block("postcondition", &[], CONDITION),
];

/// Of what nothing becomes that could be prevented: conditions alone.
const CONDITIONS_LIFECYCLE: BlockSchema = block("lifecycle", &[], &[]).with(CONDITIONS).once();

/// What may become of a resource that is only recorded.
const RECORD_LIFECYCLE: BlockSchema = block("lifecycle", &[], &[PREVENT_DESTROY, IGNORE_CHANGES])
    .with(CONDITIONS)
    .once();

/// What may become of a server.
const SERVER_LIFECYCLE: &[BlockSchema] = &[block(
    "lifecycle",
    &[],
    &[
        PREVENT_DESTROY,
        IGNORE_CHANGES,
        optional("create_before_destroy", "true"),
        optional("replace_triggered_by", "[image.debian]"),
    ],
)
.with(CONDITIONS)
.once()];

/// What the store records.
const DATA: BlockSchema = block(
    "data",
    &["type", "name"],
    &[
        optional("project", "\"network\""),
        optional("name", "\"n1\""),
        optional("address", "\"server.db\""),
        optional("labels", "{ ssd = \"true\" }"),
        optional("availability_zone", "\"rack-1\""),
        optional("state", "\"active\""),
        optional("host", "\"n1\""),
        COUNT,
        FOR_EACH,
    ],
)
.with(&[CONDITIONS_LIFECYCLE]);

/// The blocks of a file.
pub(super) const ROOT: &[BlockSchema] = &[
    block(
        "drover",
        &[],
        &[required("fleet", "\"prod\""), optional("project", "\"default\"")],
    )
    .with(&[
        block(
            "state",
            &["store"],
            &[
                optional("path", "\".drover\""),
                optional("endpoints", "[\"https://10.0.0.1:2379\"]"),
                optional("ca_file", "\"etcd-ca.pem\""),
                optional("cert_file", "\"etcd.pem\""),
                optional("key_file", "\"etcd-key.pem\""),
            ],
        )
        .once(),
        block(
            "tls",
            &[],
            &[
                required("ca_file", "\".drover/tls/ca.pem\""),
                required("cert_file", "\".drover/tls/cert.pem\""),
                required("key_file", "\".drover/tls/key.pem\""),
            ],
        )
        .once(),
        block(
            "scheduler",
            &[],
            &[
                optional("filters", "[\"RamFilter\"]"),
                optional("weights", "{ ram = 1.0 }"),
                optional("ram_allocation_ratio", "1.5"),
                optional("disk_allocation_ratio", "1.0"),
                optional("cpu_allocation_ratio", "16.0"),
                optional("default_availability_zone", "\"nova\""),
                optional("max_instances_per_host", "50"),
                optional("max_io_ops_per_host", "8"),
                optional("isolated_hosts", "[\"n1\"]"),
                optional("isolated_images", "[\"debian\"]"),
                optional("restrict_isolated_hosts_to_isolated_images", "true"),
                optional("aggregate_image_properties_isolation_namespace", "\"filter\""),
                optional("aggregate_image_properties_isolation_separator", "\".\""),
                optional("image_properties_default_architecture", "\"x86_64\""),
                optional("image_props_weight_setting", "{ os_distro = 1.0 }"),
            ],
        )
        .with(&[
            block(
                "metrics",
                &[],
                &[
                    optional("weight_setting", "{ \"cpu.percent\" = -1.0 }"),
                    optional("weight_of_unavailable", "-10000"),
                    optional("required", "true"),
                ],
            )
            .once(),
            block(
                "pci_alias",
                NAME,
                &[
                    required("vendor_id", "\"10de\""),
                    required("product_id", "\"1eb8\""),
                ],
            ),
        ])
        .once(),
        block("policy", &[], &[optional("n_plus_one", "\"warning\"")]).once(),
    ]),
    block(
        "variable",
        NAME,
        &[
            optional("type", "string"),
            optional("default", "\"value\""),
            optional("description", "\"what it is for\""),
            optional("sensitive", "true"),
            optional("nullable", "false"),
            optional("ephemeral", "true"),
        ],
    )
    .with(&[block("validation", &[], CONDITION)]),
    block("locals", &[], &[]).free(),
    block(
        "host",
        NAME,
        &[
            required("address", "\"n1.example:7443\""),
            optional("name", "\"n1\""),
            optional("availability_zone", "\"rack-1\""),
            optional("labels", "{ ssd = \"true\" }"),
            optional("state", "\"active\""),
            COUNT,
            FOR_EACH,
        ],
    )
    .with(&[CONDITIONS_LIFECYCLE]),
    block(
        "flavor",
        NAME,
        &[
            required("vcpus", "1"),
            required("ram", "\"512MiB\""),
            required("disk", "\"10GiB\""),
            optional("extra_specs", "{}"),
            COUNT,
            FOR_EACH,
        ],
    )
    .with(&[RECORD_LIFECYCLE]),
    block(
        "image",
        NAME,
        &[
            required("source", "\"https://images.example/debian-12.qcow2\""),
            required("checksum", "\"sha256:…\""),
            optional("format", "\"qcow2\""),
            optional("properties", "{ hypervisor_type = \"qemu\" }"),
            COUNT,
            FOR_EACH,
        ],
    )
    .with(&[RECORD_LIFECYCLE]),
    block(
        "group",
        NAME,
        &[required("policy", "\"anti-affinity\""), COUNT, FOR_EACH],
    )
    .with(&[
        block("rules", &[], &[optional("max_server_per_host", "2")]).once(),
        RECORD_LIFECYCLE,
    ]),
    block(
        "aggregate",
        NAME,
        &[
            required("hosts", "[host.n1, host.n2]"),
            optional("metadata", "{ ssd = \"true\" }"),
            COUNT,
            FOR_EACH,
        ],
    )
    .with(&[CONDITIONS_LIFECYCLE]),
    block(
        "server",
        NAME,
        &[
            required("flavor", "flavor.small"),
            optional("image", "image.debian"),
            optional("name", "\"web-1\""),
            optional("group", "group.web"),
            optional("availability_zone", "\"rack-1\""),
            optional("power", "\"on\""),
            optional("labels", "{ role = \"web\" }"),
            optional("allow_rebuild", "true"),
            optional("same_host", "[server.db]"),
            optional("different_host", "[server.db]"),
            optional("host_network", "\"10.0.1.0/24\""),
            optional("priority", "10"),
            optional("depends_on", "[server.db]"),
            COUNT,
            FOR_EACH,
        ],
    )
    .with(SERVER_LIFECYCLE),
    block(
        "moved",
        &[],
        &[required("from", "server.old"), required("to", "server.new")],
    ),
    block("removed", &[], &[required("from", "server.old")]).with(&[block(
        "lifecycle",
        &[],
        &[required("destroy", "false")],
    )
    .once()]),
    block(
        "import",
        &[],
        &[
            required("to", "server.web"),
            required("id", "\"n1/web\""),
            FOR_EACH,
        ],
    ),
    DATA,
    block(
        "module",
        NAME,
        &[
            required("source", "\"./modules/shop\""),
            optional("depends_on", "[server.db]"),
            COUNT,
            FOR_EACH,
        ],
    )
    .free(),
    block(
        "output",
        NAME,
        &[
            required("value", "server.web[*].host"),
            optional("description", "\"what it is\""),
            optional("sensitive", "true"),
            optional("ephemeral", "true"),
            optional("depends_on", "[server.db]"),
        ],
    )
    .with(&[block("precondition", &[], CONDITION)]),
    block("check", NAME, &[]).with(&[DATA.once(), block("assert", &[], CONDITION)]),
];

const CAPACITY: BlockSchema = block(
    "host",
    NAME,
    &[
        required("vcpus", "8"),
        required("ram", "\"16GiB\""),
        required("disk", "\"100GiB\""),
    ],
);
const VALUES: BlockSchema = block("variables", &[], &[]).free().once();

/// A test file.
pub(super) static TEST_FILE: BlockSchema = block("test file", &[], &[]).with(&[
    VALUES,
    CAPACITY,
    block(
        "run",
        NAME,
        &[
            optional("command", "plan"),
            optional("expect_failures", "[check.capacity]"),
        ],
    )
    .with(&[VALUES, CAPACITY, block("assert", &[], CONDITION)]),
]);

/// Blocks that a `dynamic` block may make. Others are read before anything is computed.
pub(super) const DYNAMIC: [&str; 7] = [
    "state",
    "tls",
    "scheduler",
    "metrics",
    "pci_alias",
    "policy",
    "rules",
];
