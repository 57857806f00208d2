// `runtime version`: of the package, of what it runs on, and of the wire.

import type { Command } from 'commander'
import { packageInfo } from '../../admin/package.ts'
import { DEFAULT_LUA } from '../../lua/engines.ts'
import { EXIT_OK } from '../exit.ts'
import { type CommonOptions, Output } from '../output.ts'

export function addVersion(command: Command, end: (exitCode: number) => void): void {
  command
    .description('versions of moonmesh, Node.js, Lua and its engines')
    .action((options: CommonOptions) => end(version(options)))
}

function version(options: CommonOptions): number {
  const output = Output.standard(options)
  const { version: moonmesh, dependencies } = packageInfo()
  const versions = {
    moonmesh,
    node: process.version,
    lua: '5.3',
    engine: DEFAULT_LUA.engine,
    fengari: dependencies['fengari'],
  }
  if (output.isJson) output.json(versions)
  else for (const [name, text] of Object.entries(versions)) output.line(`${name.padEnd(9)} ${text}`)
  return EXIT_OK
}
