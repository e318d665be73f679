//! Whether the installation is set up right: the database's tables, rights and server, the broker's topology,
//! the configuration.
