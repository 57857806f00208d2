import { FengariEngine } from '../../../runtime/lua/fengari.ts'
import { engineConformance } from './engine.ts'

engineConformance('fengari', () => new FengariEngine())
