// The TypeScript client: no agent of its own, so a loop stands in for it, which reads the text of a result.
// Arguments: the task, as in agent.py, and the mode in which the client agrees on a protocol version.

import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const [task, mode] = [JSON.parse(process.argv[2]), process.argv[3]];
const asked = [];
const client = new Client(
  { name: 'typescript', version: '1' },
  { capabilities: task.closes ? { elicitation: {} } : {}, versionNegotiation: { mode } },
);
if (task.closes) {
  client.setRequestHandler('elicitation/create', async (request) => {
    asked.push(request.params.message);
    return { action: task.closes };
  });
}
await client.connect(new StdioClientTransport(task.server));
const { tools } = await client.listTools();

const [calls, shown] = [[], []];
let next = task.first;
while (next && calls.length < 20) {
  calls.push(next);
  const result = await client.callTool({ name: next[0], arguments: next[1] });
  shown.push(result.content.map((block) => block.text).join('\n'));
  const step = result.isError ? undefined : JSON.parse(shown.at(-1)).next_steps?.[0];
  const refused = !task.confirms && step && 'confirmation' in step.arguments;
  next = step && !refused ? [step.tool, step.arguments] : undefined;
}
await client.close();
const described = Object.fromEntries(tools.map((tool) => [tool.name, tool.description]));
console.log(JSON.stringify({ calls, shown, beginnings: 1, asked, tools: described }));
