// Whole conversations, effect by effect: testdata/*.txt. Read them as a diff when a change rewrites them (`-u`).

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'vitest'
import type { ConfigurationChange } from '../../../../cluster/raft/core/membership.ts'
import { transcript } from '../../../tools/datadriven.ts'
import { Group, show } from './group.ts'

const folder = join(import.meta.dirname, 'testdata')

for (const file of readdirSync(folder).filter((name) => name.endsWith('.txt'))) {
  test(file.replace('.txt', '').replaceAll('-', ' '), async () => {
    let group: Group | undefined
    const printed: string[] = []
    const open = (words: readonly string[]): Group => {
      const at = words.indexOf('|')
      const bar = at < 0 ? words.length : at
      const options: Record<string, number> = {}
      const names = words.filter((word) => !word.includes('='))
      for (const word of words) {
        const [key, value] = word.split('=')
        if (value !== undefined) options[key as string] = Number(value)
      }
      const fresh = new Group({ voters: names.slice(0, bar), standbys: names.slice(bar + 1), raft: options })
      fresh.onEffect = (server, effect) => printed.push(show(server, [effect]))
      return fresh
    }
    await transcript(join(folder, file), ([verb = '', ...words]) => {
      printed.length = 0
      if (verb === 'group') group = open(words)
      else perform(group as Group, verb, words)
      return printed.join('\n')
    })
  })
}

function perform(group: Group, verb: string, [first = '', second = '', third = '']: readonly string[]): void {
  switch (verb) {
    case 'settle':
      return group.settle()
    case 'elect':
      return group.elect(first)
    case 'campaign':
      group.nowMs += 6000
      return void group.feed(first, { kind: 'campaign' })
    case 'pass':
      return group.pass(Number(first))
    case 'propose':
      return group.propose(first, second)
    case 'read':
      return void group.feed(first, { kind: 'read', ref: Number(second) })
    case 'transfer':
      return void group.feed(first, { kind: 'transfer', ref: 1, to: second })
    case 'change': {
      const change = { op: second as ConfigurationChange['op'], server: third }
      return void group.feed(first, { kind: 'change', ref: 1, change, live: group.servers })
    }
    case 'isolate':
      return group.isolate(first)
    case 'heal':
      return group.heal()
    case 'lose':
      return void group.take(() => true)
    case 'slow':
      return group.slowDisk(first)
    case 'sync':
      return group.sync(first)
    case 'restart':
      return group.restart(first)
    default:
      throw new Error(`unknown command ${verb}`)
  }
}
