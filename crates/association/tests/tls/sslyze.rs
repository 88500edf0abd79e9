//! What an auditor's scanner finds on our port.
