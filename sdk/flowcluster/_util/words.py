"""The words that run names are made of."""

ADJECTIVES = """
    able agile amber ancient apt arctic autumn azure balmy bold brave breezy bright brisk bronze calm candid
    careful cheery chief civil clear clever cobalt cool copper coral cosmic cozy crimson crisp curious daring
    dapper deft dusky eager early earnest easy elated emerald epic even fair famous fancy fearless festive fine
    fleet fluent fond frank free fresh frosty gentle gifted glad golden good grand green happy hardy hasty hazel
    hearty honest humble indigo ivory jade jolly jovial joyful keen kind large lasting lively loyal lucid lucky
    magenta maroon mellow merry mighty mild modest mossy neat nimble noble olive opal orange patient peaceful
    pearl placid plucky polite prime proud prudent purple quick quiet rapid ready robust rosy royal ruby rustic
    sage sandy scarlet serene sharp shiny silent silver sincere sleek smart smooth snowy solid spry stable
    steady stellar sturdy sunny swift tall teal tender tidy topaz tranquil trusty upbeat velvet vivid warm wise
    witty zesty
""".split()  # noqa: SIM905 - words, not a list of quotes

ANIMALS = """
    aardvark adder albatross alpaca anchovy ant anteater antelope armadillo auk avocet badger bat bear beaver
    bee beetle bison boar bobcat bongo buffalo bullfinch bustard buzzard camel capybara caribou carp cheetah
    chamois chinchilla chough cicada civet clam cobra cod condor coot cormorant cougar coyote crab crane cricket
    crow curlew deer dingo dolphin dormouse dove dragonfly duck dunlin eagle eel egret eland elk emu ermine
    falcon ferret finch flamingo fox frog gannet gazelle gecko gerbil gibbon giraffe gnu goat goldfinch goose
    grouse gull hamster hare harrier hawk hedgehog heron hoopoe hornet horse ibex ibis iguana impala jackal
    jackdaw jaguar jay kestrel kingfisher kite kiwi koala kudu lapwing lark lemming lemur leopard limpet linnet
    lion lizard llama lobster loon lynx macaw magpie mallard manatee mantis marlin marmot marten mole mongoose
    moose moth mouse mule mussel narwhal newt nightjar nuthatch ocelot octopus okapi opossum oriole oryx osprey
    ostrich otter owl oyster panda panther parrot partridge pelican penguin perch petrel pheasant pigeon pika
    plover polecat pony porcupine possum puffin puma quail rabbit raccoon raven redstart reindeer robin rook
    salmon sandpiper seal serval shrew skink skunk skylark sloth snail snipe sparrow squid squirrel starling
    stoat stork swallow swan swift tapir teal tern thrush tiger toad toucan trout turtle viper vole vulture
    wagtail walrus warbler weasel weaver whale wolf wombat woodcock wren yak zebra
""".split()  # noqa: SIM905 - words, not a list of quotes
