/* mcp.h - the Model Context Protocol, as a dialect of what is here anyway.
 *
 * An MCP host calls `initialize` with a protocolVersion of MCP's, lists the tools and calls
 * them: a tool is a method of ours (method_is_tool), its arguments are that method's params,
 * and the call goes the way every call goes, in a group of one whose whole is MCP's result.
 * Progress (_meta.progressToken) and notifications/cancelled are the method's own. */
#ifndef CONTROLLER_MCP_H
#define CONTROLLER_MCP_H
#include "controller/controller.h"

/* The MCP version to answer an initialize with: the host's own if we know it, else our latest.
 * NULL when no MCP host speaks: no protocolVersion, one of ours ("1"), or one that is not a
 * date beside less than MCP demands (capabilities, clientInfo). */
const char *mcp_negotiate(struct json_span params);

extern const char mcp_instructions[]; /* how a host may begin */

void mcp_list(struct controller *c, struct call *call); /* tools/list */
void mcp_call(struct controller *c, struct call *call); /* tools/call */

/* Append the result of tools/call for what its method answered. False when that has to stay
 * an error of the protocol: a call that was cancelled has no result. */
bool mcp_write_result(struct buf *out, enum answer a, struct json_span body);
#endif
