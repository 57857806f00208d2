#!/usr/bin/env node
// The command: argv in, exit code out. 0 success, 1 the operation or the app failed, 2 bad command line or bad app, 130 interrupted.

import { existsSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { packageInfo } from '../admin/package.ts'
import { MoonmeshError, messageOf } from '../base/errors.ts'
import { addAttach } from './commands/attach.ts'
import { addCert } from './commands/cert.ts'
import { addCheck } from './commands/check.ts'
import { addCluster } from './commands/cluster.ts'
import { addCompletion } from './commands/completion.ts'
import { addGroups } from './commands/groups.ts'
import { addInit } from './commands/init.ts'
import { addKeygen } from './commands/keygen.ts'
import { addKv } from './commands/kv.ts'
import { addLocks } from './commands/locks.ts'
import { addLogs } from './commands/logs.ts'
import { addNames } from './commands/names.ts'
import { addPs } from './commands/ps.ts'
import { addRun, splitExec } from './commands/run.ts'
import { addTest } from './commands/test.ts'
import { addVersion } from './commands/version.ts'
import { CommandFailure, EXIT_FAILED, EXIT_OK, EXIT_USAGE } from './exit.ts'
import { commandName } from './invocation.ts'
import { flushOutputs, watchOutputs } from './streams.ts'

/** Runs one command line and returns its exit code; never throws. */
async function main(argv: readonly string[], stdoutGone: Promise<void>): Promise<number> {
  let exitCode = EXIT_OK
  const end = (code: number): void => {
    exitCode = code
  }
  const { own, program: programArgs } = splitExec(argv)
  const program = new Command('runtime')
    .description('Moonmesh: an actor runtime whose actors are Lua scripts')
    .version(packageInfo().version, '--version', 'the version of moonmesh')
    .exitOverride()
    .showHelpAfterError('(--help says more)')
  const command = (name: string): Command =>
    program.command(name).option('--json', 'the result as JSON on standard output').option('--no-color', 'no colours')
  addRun(command('run'), { args: programArgs, stdoutGone }, end)
  addCheck(command('check'), end)
  addInit(command('init'), end)
  addTest(command('test'), end)
  addPs(command('ps'), end)
  addAttach(command('attach'), end)
  addLogs(command('logs'), stdoutGone, end)
  addGroups(command('groups'), end)
  addNames(command('names'), end)
  addLocks(command('locks'), end)
  addCluster(program.command('cluster'), end)
  addKv(program.command('kv'), end)
  addKeygen(command('keygen'), end)
  addCert(program.command('cert'), end)
  addCompletion(command('completion'), program, end)
  addVersion(command('version'), end)
  try {
    await program.parseAsync([...own], { from: 'user' })
    return exitCode
  } catch (thrown) {
    return explain(thrown, own)
  }
}

/** Tells a person what went wrong, and returns the exit code. */
function explain(thrown: unknown, argv: readonly string[]): number {
  if (thrown instanceof CommanderError) {
    const [first = ''] = argv
    if (thrown.code === 'commander.unknownCommand' && (/\.ya?ml$/.test(first) || existsSync(first))) {
      say(`to run an app: ${commandName()} run ${first}`)
    }
    // Commander has printed the rest. Help that was asked for is no failure, help for want of a command is.
    return thrown.exitCode === 0 ? EXIT_OK : EXIT_USAGE
  }
  if (thrown instanceof CommandFailure) {
    say(thrown.isReport ? thrown.message : `error: ${thrown.message}`)
    return thrown.exitCode
  }
  if (thrown instanceof MoonmeshError) {
    say(`error: ${thrown.message}`)
    return EXIT_FAILED
  }
  return bug(thrown)
}

/** What nobody foresaw. */
function bug(thrown: unknown): number {
  say(`error: ${messageOf(thrown)}\nthis is a bug in moonmesh${wantsStack() ? '' : '; --log-level debug shows where'}`)
  if (wantsStack() && thrown instanceof Error) say(String(thrown.stack))
  return EXIT_FAILED
}

const wantsStack = (): boolean => /--log-level[= ](debug|trace)/.test(process.argv.join(' '))

const say = (text: string): void => void process.stderr.write(`${text}\n`)

async function exit(exitCode: number): Promise<void> {
  await flushOutputs(process)
  process.exit(exitCode)
}

const crash = (thrown: unknown): void => void exit(bug(thrown))
process.on('uncaughtException', crash)
process.on('unhandledRejection', crash)
await exit(await main(process.argv.slice(2), watchOutputs(process)))
