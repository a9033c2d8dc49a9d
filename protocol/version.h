/* version.h - the one version number of both binaries. */
#ifndef PROTOCOL_VERSION_H
#define PROTOCOL_VERSION_H

#define TANDEM_VERSION "0.1.0"
#endif
