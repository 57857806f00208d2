// By which words this command was called, for the commands that it advises to type next.

import { basename } from 'node:path'

/** `npx moonmesh` under npx; else the name of the program, when it is one of ours. */
export function commandName(program = process.argv[1] ?? '', env: NodeJS.ProcessEnv = process.env): string {
  if (env['npm_command'] === 'exec') return 'npx moonmesh'
  return basename(program) === 'moonmesh' ? 'moonmesh' : 'runtime'
}
