//! `tests/flows/rows.txt` names the arguments with which the model brings a row of `docs/calls.md` about: each must be one.

use std::path::Path;

use model::order::Order;

/// Rows that the model explores are more than these.
const ROWS_MIN: usize = 40;

#[test]
fn what_a_row_names_as_explored_is_what_the_model_takes() {
    let rows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../flows/rows.txt");
    let rows = std::fs::read_to_string(rows).unwrap();
    let mut explored = 0;
    for line in rows.lines().filter(|line| line.starts_with('§')) {
        let named = line.split(" | ").nth(3).unwrap_or_default().trim();
        // What begins with a dash says why there is nothing.
        for arguments in named.split(" or ").filter(|_| !named.is_empty() && !named.starts_with('-')) {
            let order = Order::read(arguments.split_whitespace().map(str::to_owned));
            assert!(order.is_ok(), "{line}\n{arguments}: {order:?}");
            explored += 1;
        }
    }
    assert!(explored >= ROWS_MIN, "only {explored}");
    for none in ["revoke", "kinds=nothing", "losses=x", "source=nowhere"] {
        assert!(Order::read([none.to_owned()].into_iter()).is_err(), "{none}");
    }
}
